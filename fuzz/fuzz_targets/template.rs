#![no_main]

ecar_sms_fuzz::target!("template", ecar_sms::message::fuzzing::TEMPLATE_SEEDS, ecar_sms::message::fuzzing::template);
