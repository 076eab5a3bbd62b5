# base and claude-code, built and pushed when their sources change. Jobs refer to the digest that the registry then tells.

locals {
  sources = "${path.module}/.."

  # What goes into each image: the recipe and, for both, all that the entrypoint is compiled from.
  entrypoint_files = setunion(
    # The Makefile has the compiler's flags, push.sh the recipe for Cloud Build.
    ["Cargo.lock", "Cargo.toml", "Makefile", "images/build.sh", "images/push.sh"],
    fileset(local.sources, "{archive,entrypoint,wire}/Cargo.toml"),
    fileset(local.sources, "{archive,entrypoint,wire}/src/**"),
  )
  base_files = setunion(local.entrypoint_files, fileset(local.sources, "images/base/**"))
  image_files = {
    base        = local.base_files
    claude-code = setunion(local.base_files, fileset(local.sources, "images/claude-code/**"))
  }

  built = toset([for e in values(var.environments) : e.image if contains(keys(local.image_files), e.image)])

  # The first 20 digits of a digest of names and contents: known when planning, so a plan shows that an image will change.
  tags = {
    for image in local.built : image => substr(sha256(join("\n", concat(
      [for file in sort(local.image_files[image]) : "${file} ${filesha256("${local.sources}/${file}")}"],
      [var.images.debian],
    ))), 0, 20)
  }
}

resource "terraform_data" "images" {
  count = length(local.built) == 0 ? 0 : 1

  input            = local.tags
  triggers_replace = [local.registry, local.tags]

  lifecycle {
    precondition {
      condition     = length(local.base_files) > 10
      error_message = "The images' sources are not beside this directory: apply it inside sortie's repository, or set images.build to prebuilt."
    }
  }

  provisioner "local-exec" {
    command = "${local.sources}/images/push.sh ${join(" ", [for image, tag in local.tags : "${image}=${tag}"])}"
    environment = {
      SORTIE_PUSH_BUILD    = var.images.build
      SORTIE_PUSH_REGISTRY = local.registry
      SORTIE_PUSH_PROJECT  = var.project
      SORTIE_PUSH_REGION   = var.region
      SORTIE_PUSH_DEBIAN   = var.images.debian
    }
  }
}

# Read once the images are there, which a plan cannot wait for: then the digest is known after apply.
data "google_artifact_registry_docker_image" "built" {
  for_each = local.tags

  project       = var.project
  location      = var.region
  repository_id = google_artifact_registry_repository.this.repository_id
  image_name    = "${each.key}:${each.value}"

  depends_on = [terraform_data.images]
}

locals {
  images = {
    for name, e in var.environments : name => contains(local.built, e.image) ? data.google_artifact_registry_docker_image.built[e.image].self_link : e.image
  }
}
