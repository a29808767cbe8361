#![no_main]

ecar_sms_fuzz::target!("texts", ecar_sms::message::fuzzing::TEXTS_SEEDS, ecar_sms::message::fuzzing::texts);
