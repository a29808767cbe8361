#![no_main]

ecar_sms_fuzz::target!("redaction", ecar_sms::provider::generic::fuzzing::REDACTION_SEEDS, ecar_sms::provider::generic::fuzzing::redaction);
