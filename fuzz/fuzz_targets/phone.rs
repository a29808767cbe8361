#![no_main]

ecar_sms_fuzz::target!("phone", ecar_sms::message::fuzzing::PHONE_SEEDS, ecar_sms::message::fuzzing::phone);
