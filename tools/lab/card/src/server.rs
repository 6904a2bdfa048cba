// SPDX-License-Identifier: GPL-2.0-only

//! The function on a socket, as QEMU's `vfio-user-pci` expects it.

use std::fs::File;
use std::io::{self, Write};
use std::path::Path;

use vfio_bindings::bindings::vfio::{
    VFIO_IRQ_INFO_AUTOMASKED, VFIO_IRQ_INFO_EVENTFD, VFIO_IRQ_INFO_MASKABLE,
    VFIO_IRQ_INFO_NORESIZE, VFIO_IRQ_SET_ACTION_TRIGGER, VFIO_IRQ_SET_ACTION_UNMASK,
    VFIO_PCI_CONFIG_REGION_INDEX, VFIO_PCI_ERR_IRQ_INDEX, VFIO_PCI_INTX_IRQ_INDEX,
    VFIO_PCI_MSI_IRQ_INDEX, VFIO_PCI_NUM_IRQS, VFIO_PCI_NUM_REGIONS, VFIO_REGION_INFO_FLAG_READ,
    VFIO_REGION_INFO_FLAG_WRITE, vfio_region_info,
};
use vfio_user::{DmaMapFlags, DmaUnmapFlags, Error, IrqInfo, Server, ServerBackend, ServerRegion};

use crate::config;
use crate::description::Card;
use crate::function::{Effect, Function};

fn regions(card: &Card) -> Vec<ServerRegion> {
    (0..VFIO_PCI_NUM_REGIONS)
        .map(|index| {
            let size = if index == VFIO_PCI_CONFIG_REGION_INDEX {
                config::SIZE as u64
            } else {
                card.bar
                    .iter()
                    .find(|bar| u32::from(*bar.index.get_ref()) == index)
                    .map_or(0, |bar| *bar.size.get_ref())
            };
            let flags = if size > 0 {
                VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE
            } else {
                0
            };
            ServerRegion {
                region_info: vfio_region_info {
                    argsz: size_of::<vfio_region_info>() as u32,
                    index,
                    flags,
                    size,
                    ..Default::default()
                },
                sparse_areas: Vec::new(),
                mmap_fd: None,
            }
        })
        .collect()
}

fn interrupts(card: &Card) -> Vec<IrqInfo> {
    (0..VFIO_PCI_NUM_IRQS)
        .map(|index| {
            let (flags, count) = match index {
                VFIO_PCI_INTX_IRQ_INDEX => (
                    VFIO_IRQ_INFO_MASKABLE | VFIO_IRQ_INFO_AUTOMASKED,
                    u32::from(card.intx.is_some()),
                ),
                VFIO_PCI_MSI_IRQ_INDEX => (
                    VFIO_IRQ_INFO_NORESIZE,
                    card.msi
                        .as_ref()
                        .map_or(0, |msi| u32::from(*msi.vectors.get_ref())),
                ),
                // This one never fires, but QEMU warns if it is missing.
                VFIO_PCI_ERR_IRQ_INDEX => (VFIO_IRQ_INFO_NORESIZE, 1),
                _ => (0, 0),
            };
            IrqInfo {
                index,
                flags: VFIO_IRQ_INFO_EVENTFD | flags,
                count,
            }
        })
        .collect()
}

struct Backend<'a> {
    function: Function<'a>,
    intx: Option<File>,
    msi: Vec<Option<File>>,
    socket: &'a Path,
}

impl Backend<'_> {
    fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::SignalIntx => signal(self.intx.as_mut()),
            Effect::SignalMsi(vector) => {
                let slot = usize::try_from(vector)
                    .ok()
                    .and_then(|n| self.msi.get_mut(n));
                signal(slot.and_then(Option::as_mut));
            }
            Effect::Disconnect => {
                let _ = std::fs::remove_file(self.socket);
                std::process::exit(0);
            }
        }
    }
}

/// Signals an eventfd. If it is missing, or its other end is closed, nobody listens.
fn signal(eventfd: Option<&mut File>) {
    if let Some(eventfd) = eventfd {
        let _ = eventfd.write(&1_u64.to_ne_bytes());
    }
}

impl ServerBackend for Backend<'_> {
    fn region_read(&mut self, region: u32, offset: u64, data: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            self.function.read_config(at, data);
            return Ok(());
        }
        if let Some(delay) = self.function.delay(region) {
            std::thread::sleep(delay);
        }
        self.function.read_bar(region, at, data);
        Ok(())
    }

    fn region_write(&mut self, region: u32, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        if region == VFIO_PCI_CONFIG_REGION_INDEX {
            if let Some(effect) = self.function.write_config(at, data) {
                self.perform(effect);
            }
            return Ok(());
        }
        if let Some(delay) = self.function.delay(region) {
            std::thread::sleep(delay);
        }
        for effect in self.function.write_bar(region, at, data) {
            self.perform(effect);
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
        self.function.reset_by_bus();
        Ok(())
    }

    fn set_irqs(
        &mut self,
        index: u32,
        flags: u32,
        start: u32,
        count: u32,
        fds: Vec<File>,
    ) -> io::Result<()> {
        if flags & VFIO_IRQ_SET_ACTION_TRIGGER != 0 {
            if index == VFIO_PCI_INTX_IRQ_INDEX {
                self.intx = fds.into_iter().next();
            } else if index == VFIO_PCI_MSI_IRQ_INDEX {
                // Only vectors with an eventfd are passed. A count of 0 disables MSI.
                if count == 0 {
                    self.msi.iter_mut().for_each(|slot| *slot = None);
                }
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                for (slot, fd) in self.msi.iter_mut().skip(start).zip(fds) {
                    *slot = Some(fd);
                }
                return Ok(());
            }
        }
        // QEMU lowers the line when it unmasks the interrupt. The card's INTx is a level.
        if index == VFIO_PCI_INTX_IRQ_INDEX
            && flags & (VFIO_IRQ_SET_ACTION_UNMASK | VFIO_IRQ_SET_ACTION_TRIGGER) != 0
        {
            if let Some(effect) = self.function.pending_intx() {
                self.perform(effect);
            }
        }
        Ok(())
    }
}

/// Serves the card until the other end closes the socket.
pub fn serve(card: &Card, socket: &Path) -> Result<(), Error> {
    let vectors = card
        .msi
        .as_ref()
        .map_or(0, |msi| usize::from(*msi.vectors.get_ref()));
    let server = Server::new(socket, card.reset.by_bus, interrupts(card), regions(card))?;
    server.run(&mut Backend {
        function: Function::new(card),
        intx: None,
        msi: std::iter::repeat_with(|| None).take(vectors).collect(),
        socket,
    })
}
