variable "project" {
  description = "Id of the Google Cloud project that holds everything."
  type        = string

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{4,28}[a-z0-9]$", var.project))
    error_message = "project is the project's id, neither its number nor its display name: 6 to 30 lower-case letters, digits and hyphens."
  }
}

variable "region" {
  description = "One region for the bucket, the registry and the jobs: traffic between them is then free."
  type        = string
  default     = "us-central1"

  validation {
    condition     = can(regex("^[a-z]+-[a-z]+[0-9]+$", var.region))
    error_message = "region is a Cloud Run region such as us-central1 or europe-west1; neither a zone nor a multi-region."
  }
}

variable "name" {
  description = "Begins the name of everything made here, so that a project can hold several kits."
  type        = string
  default     = "sortie"

  validation {
    condition     = can(regex("^[a-z][-a-z0-9]{1,14}[a-z0-9]$", var.name))
    error_message = "name is 3 to 16 lower-case letters, digits and hyphens, beginning with a letter."
  }
}

variable "labels" {
  description = "Labels of every resource that takes any."
  type        = map(string)
  default     = {}
}

variable "bucket" {
  description = <<-EOT
    The kit's own bucket. `name` is PROJECT-NAME unless given. Days until objects go: an input from its last use, a run from its beginning.
    A task may run for 7 days, and its inputs and results must outlive it: hence the minima.
    `force_destroy` lets `terraform destroy` delete a bucket that still holds objects; it must be applied before it counts.
  EOT
  type = object({
    name               = optional(string)
    inputs_unused_days = optional(number, 14)
    runs_days          = optional(number, 30)
    force_destroy      = optional(bool, false)
  })
  default = {}

  validation {
    condition     = var.bucket.inputs_unused_days >= 9 && floor(var.bucket.inputs_unused_days) == var.bucket.inputs_unused_days
    error_message = "bucket.inputs_unused_days is a whole number of days, 9 or more."
  }

  validation {
    condition     = var.bucket.runs_days >= 14 && floor(var.bucket.runs_days) == var.bucket.runs_days
    error_message = "bucket.runs_days is a whole number of days, 14 or more."
  }

  validation {
    condition     = var.bucket.name == null ? true : can(regex("^[a-z0-9][-_.a-z0-9]{1,61}[a-z0-9]$", var.bucket.name)) && !startswith(var.bucket.name, "goog")
    error_message = "bucket.name is 3 to 63 lower-case letters, digits, hyphens, underscores and dots, and does not begin with goog."
  }
}

variable "environments" {
  description = <<-EOT
    What the team can run in: one Cloud Run job each. `image` is one of this repository's (base, claude-code) or a reference by digest.
    `secrets` maps environment variables to ids in var.secrets. `egress = true` shuts the job in behind var.egress; `vpc` attaches it to
    a network of yours. `members` may run this environment alone; var.team may run all of them.
  EOT
  type = map(object({
    image           = optional(string, "base")
    cpu             = optional(string, "1")
    memory          = optional(string, "2Gi")
    timeout_seconds = optional(number, 3600)
    env             = optional(map(string), {})
    secrets         = optional(map(string), {})
    gpu             = optional(string)
    egress          = optional(bool, false)
    vpc = optional(object({
      network    = string
      subnetwork = string
      egress     = optional(string, "PRIVATE_RANGES_ONLY")
      tags       = optional(list(string), [])
    }))
    members = optional(set(string), [])
  }))
  default = { default = {} }

  validation {
    condition     = alltrue([for name in keys(var.environments) : can(regex("^[a-z]([-a-z0-9]{0,30}[a-z0-9])?$", name))])
    error_message = "An environment's name is 1 to 32 lower-case letters, digits and hyphens, beginning with a letter."
  }

  validation {
    condition     = length(var.environments) > 0
    error_message = "environments has at least one: without a task's account the bucket's bindings would have no members."
  }

  # Google wants 6 characters or more for the id of the account that a task runs as.
  validation {
    condition     = alltrue([for name in keys(var.environments) : length("${var.name}-${name}") >= 6])
    error_message = "name and an environment's name have at least 5 characters together."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : contains(["base", "claude-code"], e.image) || can(regex("^[^@ ]+/[^@ ]+@sha256:[0-9a-f]{64}$", e.image))])
    error_message = "environments[*].image is base, claude-code, or a full reference by digest: REGION-docker.pkg.dev/PROJECT/REPOSITORY/NAME@sha256:…"
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : contains(["1", "2", "4", "6", "8"], e.cpu)])
    error_message = "environments[*].cpu is 1, 2, 4, 6 or 8."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : can(regex("^[0-9]+(Mi|Gi)$", e.memory))])
    error_message = "environments[*].memory is a whole number of Mi or Gi, such as 512Mi or 4Gi."
  }

  # Google's pairs, in MiB. Anything else is refused by the validations above, and must not be refused here a second time.
  validation {
    condition = alltrue([
      for e in values(var.environments) : try(
        tonumber(regex("^[0-9]+", e.memory)) * (endswith(e.memory, "Gi") ? 1024 : 1) >= { 1 = 512, 2 = 512, 4 = 2048, 6 = 4096, 8 = 4096 }[e.cpu] &&
        tonumber(regex("^[0-9]+", e.memory)) * (endswith(e.memory, "Gi") ? 1024 : 1) <= { 1 = 4096, 2 = 8192, 4 = 16384, 6 = 24576, 8 = 32768 }[e.cpu],
        true
      )
    ])
    error_message = "cpu and memory do not fit together: 1 CPU takes 512Mi to 4Gi, 2 take 512Mi to 8Gi, 4 take 2Gi to 16Gi, 6 take 4Gi to 24Gi, 8 take 4Gi to 32Gi."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : e.gpu == null ? true : e.gpu == "nvidia-l4" && contains(["4", "6", "8"], e.cpu) && try(tonumber(trimsuffix(e.memory, "Gi")) >= 16, false)])
    error_message = "environments[*].gpu is nvidia-l4, and needs cpu 4, 6 or 8 and memory of 16Gi or more."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : floor(e.timeout_seconds) == e.timeout_seconds && e.timeout_seconds >= 60 && e.timeout_seconds <= (e.gpu == null ? 604800 : 3600)])
    error_message = "environments[*].timeout_seconds is 60 to 604800 (7 days), and at most 3600 with a gpu."
  }

  validation {
    condition = alltrue(flatten([
      for e in values(var.environments) : [
        for name in concat(keys(e.env), keys(e.secrets)) : can(regex("^[A-Za-z_][A-Za-z0-9_]*$", name)) && !can(regex("^(SORTIE|CLOUD_RUN|X_GOOGLE)_", name))
      ]
    ]))
    error_message = "A variable's name is letters, digits and underscores; names beginning with SORTIE_, CLOUD_RUN_ or X_GOOGLE_ are not to be set."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : length(setintersection(keys(e.env), keys(e.secrets))) == 0])
    error_message = "A variable is in env or in secrets, not in both."
  }

  validation {
    condition     = alltrue(flatten([for e in values(var.environments) : [for id in values(e.secrets) : contains(keys(var.secrets), id)]]))
    error_message = "environments[*].secrets names ids that are listed in var.secrets."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : !e.egress || var.egress != null && e.vpc == null])
    error_message = "egress = true needs var.egress to be set (egress = {} will do) and excludes a vpc of its own."
  }

  validation {
    condition     = alltrue([for e in values(var.environments) : e.vpc == null ? true : contains(["ALL_TRAFFIC", "PRIVATE_RANGES_ONLY"], e.vpc.egress)])
    error_message = "environments[*].vpc.egress is ALL_TRAFFIC or PRIVATE_RANGES_ONLY."
  }

  validation {
    condition     = alltrue(flatten([for e in values(var.environments) : [for m in e.members : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+", m))]]))
    error_message = "environments[*].members begin with user:, group:, serviceAccount:, domain:, principal: or principalSet:."
  }
}

variable "images" {
  description = <<-EOT
    How base and claude-code come into the registry. `build` is docker (this machine's docker or podman), cloudbuild, or prebuilt, where
    every environment names its image in full. `debian` is the image they are built from; unless given, the one pinned in images/base/Dockerfile.
    `keep` versions of each image survive the registry's cleaning.
  EOT
  type = object({
    build  = optional(string, "docker")
    debian = optional(string, "")
    keep   = optional(number, 10)
  })
  default = {}

  validation {
    condition     = contains(["docker", "cloudbuild", "prebuilt"], var.images.build)
    error_message = "images.build is docker, cloudbuild or prebuilt."
  }

  validation {
    condition     = var.images.build != "prebuilt" || alltrue([for e in values(var.environments) : !contains(["base", "claude-code"], e.image)])
    error_message = "With images.build = prebuilt nothing is built: every environment must name its image in full."
  }

  validation {
    condition     = var.images.keep >= 1 && floor(var.images.keep) == var.images.keep
    error_message = "images.keep is a whole number, 1 or more."
  }
}

variable "secrets" {
  description = <<-EOT
    Secrets by id. With `create` (the default) the secret is made, and its value is what secret_values said when `serial` was last changed: raise it
    to store a new value. Without it, the secret and a version of it exist already, and only the right to read it is given.
  EOT
  type = map(object({
    create = optional(bool, true)
    serial = optional(number, 1)
  }))
  default = {}

  validation {
    condition     = alltrue([for id in keys(var.secrets) : can(regex("^[A-Za-z0-9_-]{1,255}$", id))])
    error_message = "A secret's id is up to 255 letters, digits, hyphens and underscores."
  }

  validation {
    condition     = alltrue([for s in values(var.secrets) : s.serial >= 1 && floor(s.serial) == s.serial])
    error_message = "secrets[*].serial is a whole number, 1 or more."
  }
}

variable "secret_values" {
  description = "Values of secrets by id, needed when a secret is made or its serial raised. Ephemeral: they reach neither the state nor a plan. Best given as TF_VAR_secret_values."
  type        = map(string)
  default     = {}
  ephemeral   = true
  sensitive   = true
}

variable "team" {
  description = "Who may run tasks in every environment, as IAM names them (user:, group:, …)."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for m in var.team : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+", m))])
    error_message = "team members begin with user:, group:, serviceAccount:, domain:, principal: or principalSet:."
  }
}

variable "developers" {
  description = "Who may, beside what the team may, push images to the registry and make jobs of their own for them (`--image`)."
  type        = set(string)
  default     = []

  validation {
    condition     = alltrue([for m in var.developers : can(regex("^(user|group|serviceAccount|domain|principal|principalSet):.+", m))])
    error_message = "developers begin with user:, group:, serviceAccount:, domain:, principal: or principalSet:."
  }
}

variable "team_reads_logs" {
  description = "Whether the team may read the logs of the whole project. sortie does not need it: what a command prints comes home with its results."
  type        = bool
  default     = false
}

variable "egress" {
  description = <<-EOT
    The allow-list for environments with egress = true: a network whose firewall lets through these host names on port 443, Google's APIs, and nothing else. null: no such
    network. `range` is a /26 or larger. `nat_endpoint_types` is for the day Google wants another one than its default.
  EOT
  type = object({
    hosts              = optional(set(string), ["api.anthropic.com"])
    range              = optional(string, "10.79.0.0/24")
    nat_endpoint_types = optional(list(string))
  })
  default = null

  validation {
    condition     = var.egress == null ? true : can(cidrnetmask(var.egress.range)) && try(tonumber(split("/", var.egress.range)[1]) <= 26, false)
    error_message = "egress.range is an IPv4 range of /26 or larger, such as 10.79.0.0/24: tasks hold its addresses for an hour after their end."
  }

  validation {
    condition     = var.egress == null ? true : length(var.egress.hosts) <= 100 && alltrue([for h in var.egress.hosts : can(regex("^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$", h)) && strcontains(h, ".")])
    error_message = "egress.hosts are at most 100 complete host names in lower case, without wildcards, such as api.anthropic.com."
  }
}
