//! What nodes keep their data on, if those are disks of ours. Whatever is done to a disk needs the guardian, which mounts it.

use std::io;
use std::path::Path;
use std::sync::Arc;

use history::NodeId;
use regex_lite::Regex;

use super::{ProcessError, Processes};
use crate::disk::{Corruption, Disk, DiskError, Form, Loss, Pace};

impl Processes {
    /// Puts the data of a node on a disk, which is mounted when the node is started.
    pub fn set_disk(&self, node: &NodeId, disk: Disk) {
        self.modify(node, |state| state.disk = Some(Arc::new(disk)));
    }

    /// The disk of a node, if it has one.
    pub(crate) fn disk(&self, node: &NodeId) -> Option<Arc<Disk>> {
        self.state.borrow().nodes.get(node).and_then(|state| state.disk.clone())
    }

    /// Fails the power of a disk whose node has no process; `None` when the node has no disk.
    ///
    /// # Errors
    /// When the disk is still used, or cannot be mounted again.
    pub async fn cut_power(&self, node: &NodeId, seed: u64) -> Result<Option<Loss>, ProcessError> {
        let Some(disk) = self.disk(node) else { return Ok(None) };
        disk.cut(&self.guardian, seed).await.map(Some).map_err(of(node))
    }

    /// Draws a page that can go wrong on the disk of a node; `None` when there is none.
    pub(crate) async fn choose_corruption(
        &self,
        node: &NodeId,
        form: Form,
        files: Option<Regex>,
        seed: u64,
    ) -> Result<Option<Corruption>, ProcessError> {
        let Some(disk) = self.disk(node) else { return Ok(None) };
        disk.choose_corruption(form, files, seed).await.map_err(of(node))
    }

    /// Makes a page wrong on the disk of a node that has no process.
    pub(crate) async fn corrupt(
        &self,
        node: &NodeId,
        corruption: &Arc<Corruption>,
    ) -> Result<(), ProcessError> {
        let Some(disk) = self.disk(node) else { return Ok(()) };
        disk.corrupt(&self.guardian, corruption).await.map_err(of(node))
    }

    /// Makes it right again, unless it was written since; whether it is right.
    pub(crate) async fn repair(
        &self,
        node: &NodeId,
        corruption: &Arc<Corruption>,
    ) -> Result<bool, ProcessError> {
        let Some(disk) = self.disk(node) else { return Ok(true) };
        disk.repair(&self.guardian, corruption).await.map_err(of(node))
    }

    /// Changes the data of a node that has no process and lies on a disk of ours, past the disk.
    pub(crate) async fn offline<T: Send + 'static>(
        &self,
        node: &NodeId,
        change: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ProcessError> {
        let disk = self.disk(node).ok_or_else(|| ProcessError::Unknown(node.clone()))?;
        disk.offline(&self.guardian, change).await.map_err(of(node))
    }

    /// Says how fsyncs of a node end that wait.
    pub(super) fn set_pace(&self, node: &NodeId, pace: Pace) {
        if let Some(disk) = self.disk(node) {
            disk.troubles().set_pace(pace);
        }
    }
}

fn of(node: &NodeId) -> impl FnOnce(DiskError) -> ProcessError {
    let node = node.clone();
    move |source| ProcessError::Disk { node, source }
}
