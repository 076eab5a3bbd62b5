# Every variable once.
project    = "my-project"
region     = "us-east4"
name       = "lab"
labels     = { cost-centre = "42" }
team       = ["group:ml@example.com", "user:a@example.com"]
developers = ["user:builder@example.com"]

team_reads_logs = true

bucket = {
  name               = "my-lab-of-sorties"
  inputs_unused_days = 9
  runs_days          = 14
  force_destroy      = true
}

images = {
  build  = "cloudbuild"
  debian = "debian:12-slim"
  keep   = 3
}

secrets = {
  anthropic-api-key = { serial = 2 }
  database-password = { create = false }
}

environments = {
  default = { env = { LANG = "C.UTF-8", QUOTED = "a \"b\" $c" } }
  claude = {
    image   = "claude-code"
    cpu     = "2"
    memory  = "4Gi"
    secrets = { ANTHROPIC_API_KEY = "anthropic-api-key", DB_PASSWORD = "database-password" }
    egress  = true
  }
  gpu = { cpu = "8", memory = "32Gi", gpu = "nvidia-l4", members = ["user:b@example.com"] }
  own = {
    image = "us-east4-docker.pkg.dev/my-project/lab/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    vpc   = { network = "projects/my-project/global/networks/ours", subnetwork = "projects/my-project/regions/us-east4/subnetworks/ours", tags = ["sortie"] }
  }
}

egress = {
  hosts              = ["api.anthropic.com", "example.com"]
  range              = "10.80.0.0/26"
  nat_endpoint_types = ["ENDPOINT_TYPE_VM"]
}
