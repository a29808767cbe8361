#![no_main]

ecar_sms_fuzz::target!("database_url", ecar_sms::db::fuzzing::SEEDS, ecar_sms::db::fuzzing::target);
