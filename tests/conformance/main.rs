//! One suite, several servers: what the bucket client relies on, asked of whoever claims to be Cloud Storage.
//!
//! Against our emulator, unless `SORTIE_CONFORMANCE_ENDPOINT` and `SORTIE_CONFORMANCE_BUCKET` name another server's;
//! `SORTIE_CONFORMANCE_SERVER` then says which it is, so that its known errors are expected, and missed once they are
//! mended.

#![expect(clippy::unwrap_used, reason = "a test's helpers may end it too")]

mod container;
mod faults;
mod forwarder;
mod listing;
mod objects;
#[expect(dead_code, reason = "the tests of whole runs use more of it")]
#[path = "../faults/proxy/mod.rs"]
mod proxy;
mod server;
mod transfers;

use server::{Defect, check};

const FAKE_GCS: &str = "fake-gcs-server";
const GCP_EMULATOR: &str = "gcp-storage-emulator";

/// The cases and, beside each, who gets it wrong, and how.
macro_rules! cases {
    ($($case:path => $name:ident [$($server:ident: $reason:literal),*];)*) => {
        $(
            #[tokio::test]
            async fn $name() {
                check(&[$(Defect { server: $server, reason: $reason }),*], $case).await;
            }
        )*
    };
}

cases! {
    objects::write_and_read => an_object_reads_back [
        GCP_EMULATOR: "its headers carry metadata that no header may have"
    ];
    objects::create_once => a_create_meets_an_object [
        GCP_EMULATOR: "it takes no notice of ifGenerationMatch on an insert"
    ];
    objects::create_once_plainly => a_plain_create_meets_an_object [
        FAKE_GCS: "ifGenerationMatch holds for multipart inserts only",
        GCP_EMULATOR: "it takes no notice of ifGenerationMatch on an insert"
    ];
    objects::overwrite => an_overwrite_names_a_generation [
        GCP_EMULATOR: "it takes no notice of ifGenerationMatch on an insert"
    ];
    objects::missing => what_is_missing_is_not_found [];
    objects::too_large => a_read_has_a_limit [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    objects::names => names_are_names [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    objects::patch => metadata_changes [
        GCP_EMULATOR: "a patch replaces all metadata instead of merging it"
    ];
    objects::patch_stale => stale_changes_are_refused [
        FAKE_GCS: "a patch has no preconditions",
        GCP_EMULATOR: "a patch has no preconditions"
    ];
    objects::delete => a_delete_names_a_generation [
        FAKE_GCS: "a delete has no preconditions",
        GCP_EMULATOR: "a delete has no preconditions"
    ];
    objects::delete_again => what_is_gone_may_be_deleted [];
    listing::prefixes => a_listing_has_prefixes [];
    listing::pages => a_listing_has_pages [
        GCP_EMULATOR: "it takes no notice of maxResults"
    ];
    listing::offset => a_listing_begins_where_it_is_told [
        GCP_EMULATOR: "it takes no notice of startOffset"
    ];
    transfers::download_pinned => a_download_is_pinned_to_a_generation [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    transfers::upload_sizes => uploads_of_all_sizes_read_back [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    transfers::upload_create_once => an_upload_meets_an_object [
        FAKE_GCS: "ifGenerationMatch holds for multipart inserts only",
        GCP_EMULATOR: "it takes no notice of ifGenerationMatch on an insert"
    ];
    transfers::abandon => an_abandoned_upload_leaves_nothing [];
    transfers::blocking => blocking_ends_read_back [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    faults::inserts => broken_inserts [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    faults::reads => broken_reads [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    faults::stats => broken_looks [];
    faults::lists => broken_lists [];
    faults::patches => broken_patches [];
    faults::deletes => broken_deletes [];
    faults::upload_starts => broken_upload_starts [
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    faults::upload_chunks => broken_upload_chunks [
        FAKE_GCS: "a status query ends a half-done upload with a truncated object",
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    faults::upload_ends => broken_upload_ends [
        FAKE_GCS: "a status query ends a half-done upload with a truncated object",
        GCP_EMULATOR: "media answers have no x-goog-generation"
    ];
    transfers::cut_download => a_cut_download_goes_on [
        GCP_EMULATOR: "it does not understand a proxy's requests, whose target is a whole URL"
    ];
    transfers::cut_upload => a_cut_upload_goes_on [
        FAKE_GCS: "a status query ends a half-done upload with a truncated object",
        GCP_EMULATOR: "it does not understand a proxy's requests, whose target is a whole URL"
    ];
}
