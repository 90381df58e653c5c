//! Calls for operators: the backup of the cluster's metadata, and whatever else is read as it is.

use bytes::Bytes;
use http::Method;

use crate::client::Client;
use crate::error::Error;
use crate::limits::{BACKUP_BYTES_MAX, BACKUP_TIMEOUT};
use crate::transport::Call;

impl Client {
    /// What a path answers to GET, as text: documents, metrics, health.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn text(&self, path: &str) -> Result<String, Error> {
        let answer = self.send_json(Method::GET, path.to_owned(), Vec::new(), None);
        let body = answer.await?.body;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    /// A backup of the cluster's metadata, as a file to be kept. Whether all of it arrived is told by its
    /// last line.
    ///
    /// # Errors
    /// `forbidden` without the right to administer; `overloaded` while another one is made.
    pub async fn backup(&self) -> Result<Bytes, Error> {
        let path = "/v1/cluster/backup".to_owned();
        let named = "GET /v1/cluster/backup";
        let call = Call {
            method: Method::GET,
            path,
            headers: Vec::new(),
            body: Bytes::new(),
            timeout: BACKUP_TIMEOUT,
        };
        let exchange = self
            .transport()
            .exchange_up_to(BACKUP_BYTES_MAX, call, named);
        match tokio::time::timeout(BACKUP_TIMEOUT, exchange).await {
            Ok(answer) => Ok(answer?.body),
            Err(_) => Err(Error::Timeout {
                request: named.to_owned(),
                after_ms: BACKUP_TIMEOUT.as_millis().try_into().unwrap_or(u64::MAX),
            }),
        }
    }
}
