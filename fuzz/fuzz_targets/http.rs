#![no_main]

ecar_sms_fuzz::target!("http", ecar_sms::control::fuzzing::SEEDS, ecar_sms::control::fuzzing::request);
