//! One suite, several servers: what the bucket client relies on, asked of whoever claims to be Cloud Storage.
//!
//! Against our emulator, unless `SORTIE_CONFORMANCE_ENDPOINT` and `SORTIE_CONFORMANCE_BUCKET` name another server's;
//! `SORTIE_CONFORMANCE_SERVER` then says which it is, so that its known errors are expected, and missed once they are
//! mended.

#![expect(missing_docs, reason = "a test program has no users")]
#![expect(clippy::unwrap_used, reason = "a test's helpers may end it too")]

mod container;
mod forwarder;
mod listing;
mod objects;
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
    objects::write_and_read => an_object_reads_back [];
    objects::create_once => a_create_meets_an_object [];
    objects::create_once_plainly => a_plain_create_meets_an_object [];
    objects::overwrite => an_overwrite_names_a_generation [];
    objects::missing => what_is_missing_is_not_found [];
    objects::too_large => a_read_has_a_limit [];
    objects::names => names_are_names [];
    objects::patch => metadata_changes [];
    objects::patch_stale => stale_changes_are_refused [];
    objects::delete => a_delete_names_a_generation [];
    objects::delete_again => what_is_gone_may_be_deleted [];
    listing::prefixes => a_listing_has_prefixes [];
    listing::pages => a_listing_has_pages [];
    listing::offset => a_listing_begins_where_it_is_told [];
    transfers::download_pinned => a_download_is_pinned_to_a_generation [];
    transfers::upload_sizes => uploads_of_all_sizes_read_back [];
    transfers::upload_create_once => an_upload_meets_an_object [];
    transfers::abandon => an_abandoned_upload_leaves_nothing [];
    transfers::blocking => blocking_ends_read_back [];
    transfers::cut_download => a_cut_download_goes_on [];
    transfers::cut_upload => a_cut_upload_goes_on [];
}
