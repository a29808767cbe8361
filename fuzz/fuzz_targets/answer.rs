#![no_main]

ecar_sms_fuzz::target!("answer", ecar_sms::provider::generic::fuzzing::ANSWER_SEEDS, ecar_sms::provider::generic::fuzzing::answer);
