#![no_main]

ecar_sms_fuzz::target!("script", ecar_sms::gateway::fuzzing::SCRIPT_SEEDS, ecar_sms::gateway::fuzzing::script);
