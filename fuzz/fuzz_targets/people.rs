#![no_main]

ecar_sms_fuzz::target!("people", ecar_sms::cli::fuzzing::PEOPLE_SEEDS, ecar_sms::cli::fuzzing::people);
