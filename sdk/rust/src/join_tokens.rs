//! Control calls: tokens with which nodes join a cluster.

use http::Method;
use serde_json::Value;

use crate::client::{Client, decode};
use crate::error::Error;
use crate::topics::percent_encoded;

const PATH: &str = "/v1/join-tokens";

impl Client {
    /// Makes a token. `spec` is `{"role", "name"?, "ttl_s"?}`; the answer has the token in `token`, and no
    /// later answer has it again.
    ///
    /// # Errors
    /// `invalid_parameter`; `conflict` when too many wait to be used.
    pub async fn create_join_token(&self, spec: &Value) -> Result<Value, Error> {
        let path = PATH.to_owned();
        let answer = self.send_json(Method::POST, path, Vec::new(), Some(spec));
        decode(&answer.await?, "POST /v1/join-tokens")
    }

    /// All tokens that have not expired.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn join_tokens(&self) -> Result<Vec<Value>, Error> {
        self.all_pages(PATH).await
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// `join_token_not_found`.
    pub async fn revoke_join_token(&self, id: &str) -> Result<(), Error> {
        let path = format!("{PATH}/{}", percent_encoded(id));
        let gone = self.send_json(Method::DELETE, path, Vec::new(), None);
        gone.await.map(|_| ())
    }
}
