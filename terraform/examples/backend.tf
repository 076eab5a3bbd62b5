# State that a team shares. Copy this file beside main.tf's siblings, and once:
#
#     gcloud storage buckets create gs://MY-STATE --location=us-central1 --uniform-bucket-level-access
#     gcloud storage buckets update gs://MY-STATE --versioning
#     terraform init -migrate-state -backend-config=bucket=MY-STATE -backend-config=prefix=sortie
#
# It must be another bucket than the kit's own, which a destroy deletes and whose runs expire.
terraform {
  backend "gcs" {}
}
