//! How much is measured: everything by default, a small part of it with `ECAR_SMS_BENCH=quick`, to see that a scenario works.

#[derive(Debug, Clone, Copy)]
pub struct Size {
    pub quick: bool,
}

impl Size {
    #[expect(
        clippy::disallowed_methods,
        reason = "a switch of the bench; the daemon's configuration has no part in it"
    )]
    pub fn chosen() -> Self {
        Self { quick: std::env::var("ECAR_SMS_BENCH").is_ok_and(|value| value == "quick") }
    }

    pub fn of(self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }
}
