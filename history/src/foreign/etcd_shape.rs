//! The shape of `operations.json` of etcd's robustness tests (`tests/robustness/model/types.go`, `report/client.go`).
//!
//! Requests are read strictly: a field that is not known could change what a request means, and makes it an error.
//! Responses are read leniently: what is not known there is an observation that is given up.

use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Whole {
    pub(super) client_id: i64,
    pub(super) input: Request,
    pub(super) call: i64,
    pub(super) output: Response,
    #[serde(rename = "Return")]
    pub(super) ret: i64,
    /// Porcupine's own field for visualisations.
    #[serde(default, rename = "Metadata")]
    _metadata: serde::de::IgnoredAny,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Request {
    /// `range`, `txn`, or one that touches no key: `leaseGrant`, `leaseRevoke`, `defragment`, `compact`.
    #[serde(rename = "Type")]
    pub(super) kind: String,
    #[serde(default)]
    pub(super) range: Option<RangeRequest>,
    #[serde(default)]
    pub(super) txn: Option<Transaction>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct RangeRequest {
    pub(super) start: String,
    pub(super) end: String,
    #[serde(rename = "Limit")]
    _limit: i64,
    /// 0 asks for the newest.
    pub(super) revision: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Transaction {
    conditions: Option<Vec<Condition>>,
    operations_on_success: Option<Vec<Operation>>,
    operations_on_failure: Option<Vec<Operation>>,
}

impl Transaction {
    pub(super) fn conditions(&self) -> &[Condition] {
        self.conditions.as_deref().unwrap_or_default()
    }

    pub(super) fn on_success(&self) -> &[Operation] {
        self.operations_on_success.as_deref().unwrap_or_default()
    }

    pub(super) fn on_failure(&self) -> &[Operation] {
        self.operations_on_failure.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Condition {
    pub(super) key: String,
    /// The modification revision; 0 when the key must be absent.
    pub(super) expected_revision: i64,
    /// How often the key was written since it was created; 0 asks nothing.
    #[serde(default)]
    pub(super) expected_version: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Operation {
    /// `range-operation`, `put-operation` or `delete-operation`.
    #[serde(rename = "Type")]
    pub(super) kind: String,
    pub(super) range: RangeOptions,
    pub(super) put: PutOptions,
    pub(super) delete: DeleteOptions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct RangeOptions {
    pub(super) start: String,
    pub(super) end: String,
    #[serde(rename = "Limit")]
    _limit: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct PutOptions {
    pub(super) key: String,
    pub(super) value: ValueOrHash,
    #[serde(rename = "LeaseID")]
    pub(super) lease_id: i64,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct DeleteOptions {
    pub(super) key: String,
}

/// Values of 20 bytes and more are recorded as their hash.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct ValueOrHash {
    #[serde(default)]
    value: String,
    #[serde(default)]
    hash: u32,
}

impl ValueOrHash {
    /// The value, or a text that no recorded value can be, because it is longer than those are.
    pub(super) fn text(&self) -> String {
        if self.hash == 0 { self.value.clone() } else { format!("(a long value with FNV-1a {})", self.hash) }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Response {
    #[serde(default)]
    pub(super) txn: Option<TransactionResponse>,
    #[serde(default)]
    pub(super) range: Option<RangeResponse>,
    #[serde(default)]
    pub(super) revision: i64,
    /// The server refused; nothing happened.
    #[serde(default)]
    pub(super) client_error: String,
    /// The client saw an error.
    #[serde(default)]
    pub(super) error: String,
    /// The client saw no response, but the request is known to have been persisted.
    #[serde(default)]
    pub(super) persisted: bool,
    /// The same, as older versions call it.
    #[serde(default)]
    pub(super) partial_response: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct TransactionResponse {
    pub(super) failure: bool,
    #[serde(default)]
    pub(super) results: Option<Vec<RangeResponse>>,
}

/// The part of a result that a range has; a put or delete has none.
#[derive(Debug, Deserialize)]
pub(super) struct RangeResponse {
    #[serde(default, rename = "KVs")]
    key_values: Option<Vec<KeyValue>>,
}

impl RangeResponse {
    pub(super) fn key_values(&self) -> &[KeyValue] {
        self.key_values.as_deref().unwrap_or_default()
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct KeyValue {
    pub(super) key: String,
    #[serde(default)]
    pub(super) value: ValueOrHash,
    #[serde(default)]
    pub(super) mod_revision: i64,
}
