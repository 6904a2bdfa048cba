// SPDX-License-Identifier: GPL-2.0-only

//! The function: its configuration space, the memory of its BARs, and accesses to them.

use std::time::Duration;

use crate::config::Config;
use crate::description::{Action, Bar, Card, Reads};

/// What the server must do after an access.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// INTx was raised, or is still pending.
    SignalIntx,
    SignalMsi(u32),
    Disconnect,
}

pub struct Function<'a> {
    card: &'a Card,
    config: Config,
    memory: Vec<Vec<u8>>,
    /// INTx is raised, whether it is masked or not.
    intx: bool,
    /// All reads are ones, and writes are lost.
    gone: bool,
}

fn content(bar: &Bar) -> Vec<u8> {
    let mut memory = vec![0; usize::try_from(*bar.size.get_ref()).unwrap_or(0)];
    for content in &bar.content {
        let at = usize::try_from(*content.at.get_ref()).unwrap_or(usize::MAX);
        for (to, from) in memory.iter_mut().skip(at).zip(&content.bytes) {
            *to = *from;
        }
    }
    memory
}

impl<'a> Function<'a> {
    pub fn new(card: &'a Card) -> Self {
        Function {
            card,
            config: Config::new(card),
            memory: card.bar.iter().map(content).collect(),
            intx: false,
            gone: false,
        }
    }

    pub fn read_config(&self, at: usize, data: &mut [u8]) {
        if self.gone {
            data.fill(0xff);
        } else {
            self.config.read(at, data);
        }
    }

    pub fn write_config(&mut self, at: usize, data: &[u8]) -> Option<Effect> {
        if self.gone {
            return None;
        }
        let masked = self.config.masks_intx();
        if self.config.write(at, data).reset {
            self.reset();
        }
        if masked { self.pending_intx() } else { None }
    }

    fn position(&self, index: u32) -> Option<usize> {
        self.card
            .bar
            .iter()
            .position(|bar| u32::from(*bar.index.get_ref()) == index)
    }

    /// The delay of the BAR's answers.
    pub fn delay(&self, index: u32) -> Option<Duration> {
        let bar = self.card.bar.get(self.position(index)?)?;
        bar.delay_ms
            .as_ref()
            .map(|delay| Duration::from_millis(*delay.get_ref()))
    }

    pub fn read_bar(&self, index: u32, at: usize, data: &mut [u8]) {
        data.fill(0xff);
        let Some(position) = self.position(index) else {
            return;
        };
        let (Some(bar), Some(memory)) = (self.card.bar.get(position), self.memory.get(position))
        else {
            return;
        };
        if self.gone || bar.reads == Reads::AllOnes {
            return;
        }
        for (to, from) in data.iter_mut().zip(memory.get(at..).unwrap_or_default()) {
            *to = *from;
        }
    }

    pub fn write_bar(&mut self, index: u32, at: usize, data: &[u8]) -> Vec<Effect> {
        if self.gone {
            return Vec::new();
        }
        if let Some(memory) = self.position(index).and_then(|n| self.memory.get_mut(n)) {
            for (to, from) in memory.iter_mut().skip(at).zip(data) {
                *to = *from;
            }
        }
        let card = self.card;
        let end = at.saturating_add(data.len()) as u64;
        card.trigger
            .iter()
            .filter(|trigger| u32::from(*trigger.bar.get_ref()) == index)
            .filter(|trigger| (at as u64..end).contains(trigger.offset.get_ref()))
            .filter_map(|trigger| {
                let vector = trigger
                    .vector
                    .as_ref()
                    .map_or(0, |n| u32::from(*n.get_ref()));
                self.act(*trigger.does.get_ref(), vector)
            })
            .collect()
    }

    fn act(&mut self, action: Action, vector: u32) -> Option<Effect> {
        match action {
            Action::RaiseIntx => self.set_intx(true),
            Action::LowerIntx => self.set_intx(false),
            Action::FireMsi => return Some(Effect::SignalMsi(vector)),
            Action::Vanish => self.gone = true,
            Action::Disconnect => return Some(Effect::Disconnect),
        }
        if action == Action::RaiseIntx {
            self.pending_intx()
        } else {
            None
        }
    }

    fn set_intx(&mut self, pending: bool) {
        self.intx = pending;
        self.config.set_intx_status(pending);
    }

    /// INTx, if it is raised and not masked. It is a level, so it is signalled again when it is
    /// unmasked.
    pub fn pending_intx(&self) -> Option<Effect> {
        (self.intx && !self.gone && !self.config.masks_intx()).then_some(Effect::SignalIntx)
    }

    /// Resets the function. A card that has vanished does not come back.
    pub fn reset(&mut self) {
        if self.gone {
            return;
        }
        self.config.reset();
        self.intx = false;
        if self.card.reset.clears_memory {
            self.memory = self.card.bar.iter().map(content).collect();
        }
    }

    pub fn reset_by_bus(&mut self) {
        if self.card.reset.by_bus {
            self.reset();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{COMMAND, STATUS, STATUS_INTX};
    use crate::description::parse;

    const CARD: &str = "vendor = 0x1234\ndevice = 1\nclass = 0xff0000\n\
        [intx]\npin = 1\n[msi]\nvectors = 2\n[express]\nflr = true\n\
        [[bar]]\nindex = 1\nsize = 0x20\ncontent = [{ at = 1, bytes = [7, 8] }]\n\
        [[trigger]]\nbar = 1\noffset = 0x10\ndoes = \"raise-intx\"\n\
        [[trigger]]\nbar = 1\noffset = 0x11\ndoes = \"lower-intx\"\n\
        [[trigger]]\nbar = 1\noffset = 0x12\ndoes = \"fire-msi\"\nvector = 1\n\
        [[trigger]]\nbar = 1\noffset = 0x13\ndoes = \"vanish\"\n\
        [[trigger]]\nbar = 1\noffset = 0x14\ndoes = \"disconnect\"\n";

    fn bar<const N: usize>(function: &Function, at: usize) -> [u8; N] {
        let mut data = [0; N];
        function.read_bar(1, at, &mut data);
        data
    }

    #[test]
    fn bars_are_memory_with_an_end() {
        let card = parse(CARD).unwrap();
        let mut function = Function::new(&card);
        assert_eq!(bar(&function, 0), [0, 7, 8, 0]);
        function.write_bar(1, 0x1f, &[5, 6]);
        assert_eq!(bar(&function, 0x1f), [5, 0xff]);
        function.write_bar(1, usize::MAX, &[1; 8]);
        function.write_bar(4, 0, &[1; 8]);
        assert_eq!(bar(&function, usize::MAX), [0xff; 8]);
    }

    #[test]
    fn intx_is_a_level_that_the_command_register_masks() {
        let card = parse(CARD).unwrap();
        let mut function = Function::new(&card);
        assert_eq!(function.write_bar(1, 0x10, &[1]), [Effect::SignalIntx]);
        let mut status = [0];
        function.read_config(STATUS, &mut status);
        assert_ne!(status[0] & STATUS_INTX, 0);
        function.write_config(COMMAND, &[0, 4]);
        assert_eq!(function.pending_intx(), None);
        assert_eq!(
            function.write_config(COMMAND, &[0, 0]),
            Some(Effect::SignalIntx)
        );
        function.write_bar(1, 0x11, &[1]);
        assert_eq!(function.pending_intx(), None);
        function.read_config(STATUS, &mut status);
        assert_eq!(status[0] & STATUS_INTX, 0);
    }

    #[test]
    fn triggers_are_those_that_a_write_covers() {
        let card = parse(CARD).unwrap();
        let mut function = Function::new(&card);
        assert_eq!(function.write_bar(1, 0x12, &[1]), [Effect::SignalMsi(1)]);
        assert_eq!(function.write_bar(1, 0x14, &[1]), [Effect::Disconnect]);
        assert_eq!(function.write_bar(1, 0, &[1; 16]), []);
    }

    #[test]
    fn a_card_that_is_gone_is_all_ones_and_stays_gone() {
        let card = parse(CARD).unwrap();
        let mut function = Function::new(&card);
        function.write_bar(1, 0x13, &[1]);
        function.reset_by_bus();
        assert_eq!(bar(&function, 0), [0xff; 4]);
        let mut ids = [0; 4];
        function.read_config(0, &mut ids);
        assert_eq!(ids, [0xff; 4]);
    }

    #[test]
    fn a_reset_clears_what_the_card_says() {
        for clears in [true, false] {
            let text = format!("{CARD}[reset]\nclears-memory = {clears}\n");
            let card = parse(&text).unwrap();
            let mut function = Function::new(&card);
            function.write_bar(1, 0, &[9]);
            // The device control register of the capability after MSI.
            function.write_config(0x50 + 8, &[0, 0x80]);
            assert_eq!(bar(&function, 0) == [0], clears);
        }
    }
}
