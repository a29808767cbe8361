#![no_main]

ecar_sms_fuzz::target!("request", ecar_sms::provider::generic::fuzzing::REQUEST_SEEDS, ecar_sms::provider::generic::fuzzing::request);
