//! Waiting for what the control plane does by itself, without sleeping.

use std::time::Duration;

use crate::Control;

/// Real time after which a test has hung.
const PATIENCE: Duration = Duration::from_secs(20);

impl Control {
    /// Looks each time a job or the reason of a wait has changed, until there is something to see.
    ///
    /// # Panics
    /// After 20 s of real time.
    pub async fn until<T, F>(&self, what: &str, mut look: F) -> T
    where
        F: AsyncFnMut(&Control) -> Option<T>,
    {
        let mut changes = self.changes();
        let wait = async {
            loop {
                changes.borrow_and_update();
                if let Some(seen) = look(self).await {
                    return seen;
                }
                // Fails only when `self` is gone.
                let _ = changes.changed().await;
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(seen) => seen,
            Err(_) => panic!("{what}: not seen within {PATIENCE:?}"),
        }
    }
}
