// SPDX-License-Identifier: GPL-2.0-only

//! What QEMU asks of a card, and the answers.

use crate::{
    config::Config,
    description::{Bar, Card, Place},
};
use std::{fs::File, io, io::Write, path::Path, thread, time::Duration};
use vfio_bindings::bindings::vfio::{
    vfio_region_info, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_SET_ACTION_TRIGGER,
    VFIO_IRQ_SET_ACTION_UNMASK, VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, IrqInfo, Server, ServerBackend, ServerRegion};

/// A card that QEMU has.
struct Running {
    config: Config,
    bars: Vec<(Bar, Vec<u8>)>,
    card: Card,
    intx: Option<File>,
    /// INTA is asserted, whether it is let through or not.
    pending: bool,
    vanished: bool,
}

impl Running {
    fn new(mut card: Card) -> Self {
        let config = Config::new(&card);
        let bars = card.bar.drain(..);
        Self {
            config,
            bars: bars
                .map(|bar| {
                    let memory = vec![bar.fill; bar.size as usize];
                    (bar, memory)
                })
                .collect(),
            card,
            intx: None,
            pending: false,
            vanished: false,
        }
    }

    /// Tells QEMU of an interrupt that there is, once more if it knows.
    fn interrupt(&mut self) -> io::Result<()> {
        match &mut self.intx {
            Some(event) if self.pending && self.config.intx_is_on() => {
                event.write_all(&1u64.to_ne_bytes())
            }
            _ => Ok(()),
        }
    }

    /// The bytes behind a BAR from `at` on.
    fn memory(&mut self, region: u32, at: u64) -> &mut [u8] {
        let Some((bar, memory)) = self
            .bars
            .iter_mut()
            .find(|(bar, _)| bar.index == region as usize)
        else {
            return &mut [];
        };
        thread::sleep(Duration::from_millis(bar.delay_ms));
        let at = usize::try_from(at).unwrap_or(usize::MAX);
        memory.get_mut(at..).unwrap_or_default()
    }
}

impl ServerBackend for Running {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        data.fill(0xff);
        if self.vanished {
        } else if region == VFIO_PCI_CONFIG_REGION_INDEX {
            self.config.read(offset, data);
        } else {
            let memory = self.memory(region, offset);
            data.iter_mut()
                .zip(memory)
                .for_each(|(to, from)| *to = *from);
        }
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        if self.vanished {
            return Ok(());
        }
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            self.config.write(offset, data);
            return self.interrupt();
        }
        let memory = self.memory(region, offset);
        memory
            .iter_mut()
            .zip(data)
            .for_each(|(to, from)| *to = *from);
        let place = Some(Place {
            bar: region as usize,
            at: offset,
        });
        self.vanished |= self.card.vanish == place;
        if self.card.fire == place {
            self.pending = data.iter().any(|byte| *byte != 0);
            self.config.show_interrupt(self.pending);
            return self.interrupt();
        }
        Ok(())
    }

    fn dma_map(
        &mut self,
        _flags: DmaMapFlags,
        _offset: u64,
        _address: u64,
        _size: u64,
        _fd: Option<File>,
    ) -> io::Result<()> {
        Ok(())
    }

    fn dma_unmap(&mut self, _flags: DmaUnmapFlags, _address: u64, _size: u64) -> io::Result<()> {
        Ok(())
    }

    fn reset(&mut self) -> io::Result<()> {
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        _start: u32,
        _count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if index == VFIO_PCI_INTX_IRQ_INDEX && flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
            self.intx = fds.into_iter().next();
        }
        if flags & VFIO_IRQ_SET_ACTION_UNMASK != 0 {
            return self.interrupt();
        }
        Ok(())
    }
}

/// Serves the card at the socket until QEMU ends.
pub fn serve(card: Card, socket: &Path) -> Result<(), String> {
    let accessible = VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE;
    let bytes = |index: u32| match index {
        VFIO_PCI_CONFIG_REGION_INDEX => crate::description::CONFIG_SIZE as u64,
        _ => card
            .bar
            .iter()
            .find(|bar| bar.index == index as usize)
            .map_or(0, |bar| bar.size.into()),
    };
    let regions = (0..VFIO_PCI_NUM_REGIONS).map(|index| ServerRegion {
        region_info: vfio_region_info {
            argsz: size_of::<vfio_region_info>() as u32,
            index,
            size: bytes(index),
            flags: if bytes(index) > 0 { accessible } else { 0 },
            ..Default::default()
        },
        sparse_areas: Vec::new(),
        mmap_fd: None,
    });
    let irqs = (0..VFIO_PCI_NUM_IRQS).map(|index| IrqInfo {
        index,
        flags: VFIO_IRQ_INFO_EVENTFD,
        count: u32::from(card.intx && index == VFIO_PCI_INTX_IRQ_INDEX),
    });
    let server = Server::new(socket, true, irqs.collect(), regions.collect());
    server
        .and_then(|server| server.run(&mut Running::new(card)))
        .map_err(|e| e.to_string())
}
