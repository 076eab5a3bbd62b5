# The APIs that the rest needs. They stay on at destroy: something else in the project may have come to use them.
#
# Cloud Resource Manager and Service Usage must be on already, for this resource asks them: see README.md.
resource "google_project_service" "this" {
  for_each = toset(concat(
    ["artifactregistry.googleapis.com", "iam.googleapis.com", "run.googleapis.com", "secretmanager.googleapis.com", "storage.googleapis.com"],
    var.images.build == "cloudbuild" ? ["cloudbuild.googleapis.com"] : [],
    var.egress == null ? [] : ["compute.googleapis.com", "dns.googleapis.com"],
  ))

  project            = var.project
  service            = each.value
  disable_on_destroy = false
}
