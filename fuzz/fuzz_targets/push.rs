#![no_main]

ecar_sms_fuzz::target!(
    "push",
    ecar_sms::provider::vendor::fuzzing::PUSH_SEEDS,
    ecar_sms::provider::vendor::fuzzing::push
);
