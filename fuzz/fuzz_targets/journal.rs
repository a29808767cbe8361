#![no_main]

ecar_sms_fuzz::target!("journal", ecar_sms::journal::fuzzing::SEEDS, ecar_sms::journal::fuzzing::journal);
