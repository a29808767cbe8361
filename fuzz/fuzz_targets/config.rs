#![no_main]

ecar_sms_fuzz::target!("config", ecar_sms::config::fuzzing::SEEDS, ecar_sms::config::fuzzing::file);
