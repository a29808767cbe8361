//! Several daemons on one database: they share the work and the requests at once, and must not stand in each other's way.

use crate::drain::drain_shared;
use crate::report::{Bar, against, median, progress, runs};
use crate::size::Size;
use crate::stage::{Settings, Stage};

const DAEMONS: [usize; 3] = [1, 2, 4];

pub async fn run(size: Size) {
    let messages = size.of(80_000, 8_000);
    let stage = Stage::set(true, 1).await;
    let mut rates = [const { Vec::new() }; DAEMONS.len()];
    for round in 1..=size.of(4, 1) {
        for (daemons, rates) in DAEMONS.into_iter().zip(&mut rates) {
            progress(&format!("round {round}: {daemons} daemons"));
            let garage = stage.garage().await;
            rates.push(drain_shared(&stage, &garage, &Settings::default(), daemons, messages).await.rate);
        }
    }
    for (daemons, rates) in DAEMONS.into_iter().zip(&rates) {
        runs(&format!("{daemons} on one database, {messages} messages"), rates, "messages/s");
    }
    let [one, two, four] = rates.map(|rates| median(&rates));
    against("two / one", two / one, "", Bar::AtLeast(0.95));
    against("four / two", four / two, "", Bar::AtLeast(1.0));
    stage.end().await;
}
