#![no_main]

ecar_sms_fuzz::target!("post", ecar_sms::gateway::fuzzing::POST_SEEDS, ecar_sms::gateway::fuzzing::post);
