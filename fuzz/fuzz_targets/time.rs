#![no_main]

ecar_sms_fuzz::target!("time", ecar_sms::cli::fuzzing::TIME_SEEDS, ecar_sms::cli::fuzzing::time);
