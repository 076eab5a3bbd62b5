# A team that lets Claude Code work on its repositories, and reach nothing but Anthropic's API:
#     TF_VAR_secret_values='{"anthropic-api-key":"sk-ant-…"}' terraform apply -var-file=examples/claude.tfvars
project = "my-project"
region  = "europe-west1"
team    = ["group:ml@example.com"]

secrets = { anthropic-api-key = {} }

environments = {
  default = {}
  claude = {
    image           = "claude-code"
    cpu             = "2"
    memory          = "4Gi"
    timeout_seconds = 7200
    secrets         = { ANTHROPIC_API_KEY = "anthropic-api-key" }
    egress          = true
  }
}

egress = { hosts = ["api.anthropic.com"] }
