terraform {
  # 1.11 brought write-only arguments, by which secret values stay out of the state.
  required_version = ">= 1.11.0"

  required_providers {
    google = {
      source  = "hashicorp/google"
      version = ">= 6.50.0, < 9.0.0"
    }
  }
}

provider "google" {
  project        = var.project
  region         = var.region
  default_labels = merge(var.labels, { app = var.name })
}
