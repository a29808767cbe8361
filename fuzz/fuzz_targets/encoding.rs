#![no_main]

ecar_sms_fuzz::target!("encoding", ecar_sms::message::fuzzing::ENCODING_SEEDS, ecar_sms::message::fuzzing::encoding);
