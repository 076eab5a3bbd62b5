#!/bin/sh
# What Terraform defines is what sortie runs: the kit is applied to sortie's emulator, and `sortie run` executes the jobs that
# are there then, with settings that it reads from Terraform's outputs and nowhere else.
#
#     tests/kit/contract.sh PATH-TO-SORTIE [PATH-TO-PROVIDER-INSTALLER]
#
# The installer puts a stand-in for the google provider into a directory (`install DIR`) and prints the configuration that
# makes Terraform use it. It carries buckets, objects and jobs through to the emulator, and invents the rest. Without one,
# Terraform fetches the real provider, and everything is made in the emulator.
set -eu

cd "$(dirname "$0")/../.."

fail() {
    echo "contract: $1" >&2
    exit 1
}

[ $# -eq 1 ] || [ $# -eq 2 ] || fail "say where sortie is, and the provider's installer: $0 target/debug/sortie [PATH]"
SORTIE=$(realpath "$1")
installer=${2:+$(realpath "$2")}
command -v terraform > /dev/null || fail 'terraform is needed'
. tests/kit/venv.sh

scratch=$(mktemp -d)
emulator=
clean() {
    status=$?
    [ -z "$emulator" ] || kill "$emulator" 2> /dev/null || true
    wait
    rm -rf "$scratch"
    exit "$status"
}
trap clean EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

# Nothing of the caller's may decide.
for name in $(env | sed -n 's/^\(\(SORTIE_\|GOOGLE_\|GCE_\|STORAGE_\|CLOUDSDK_\|TF_\)[A-Za-z0-9_]*\)=.*/\1/p'); do
    unset "$name"
done
mkdir "$scratch/home" "$scratch/work" "$scratch/kit"
export HOME="$scratch/home"

SORTIE_EMULATOR_TOKEN=stub "$SORTIE" emulator --project contract-project --region europe-west1 --state "$scratch/state" \
    --runner "$SORTIE" --runner container > "$scratch/environment" 2> "$scratch/emulator.log" &
emulator=$!
for _ in $(seq 100); do
    grep -q CLOUDSDK_AUTH_ACCESS_TOKEN "$scratch/environment" && break
    kill -0 "$emulator" 2> /dev/null || fail "the emulator does not serve: $(cat "$scratch/emulator.log")"
    sleep 0.1
done
# The servers' addresses and a token: all else must come from Terraform.
address=$(sed -n "s/^export SORTIE_RUN_ENDPOINT='\(.*\)'$/\1/p" "$scratch/environment")
export SORTIE_RUN_ENDPOINT="$address" STORAGE_EMULATOR_HOST="$address" SORTIE_EMULATOR_TOKEN=stub

# A secret that is there already, with a value.
"$python" - "$address" << 'EOF'
import base64, json, sys, urllib.request
def call(path, body):
    headers = {"Content-Type": "application/json", "Authorization": "Bearer stub"}
    urllib.request.urlopen(urllib.request.Request(f"{sys.argv[1]}/v1/projects/contract-project/{path}", json.dumps(body).encode(), headers), timeout=30)
call("secrets?secretId=api-key", {"replication": {"automatic": {}}})
call("secrets/api-key:addVersion", {"payload": {"data": base64.b64encode(b"sk-secret").decode()}})
EOF

tar -cf - terraform | tar -xf - -C "$scratch/kit" --exclude=.terraform --exclude='*.tfstate*' --exclude=.terraform.lock.hcl
cat > "$scratch/kit/terraform/contract.tfvars" << 'EOF'
project = "contract-project"
region  = "europe-west1"
name    = "crew"
bucket  = { force_destroy = true }
images  = { build = "prebuilt" }
secrets = { api-key = { create = false } }

environments = {
  default = {
    image = "europe-west1-docker.pkg.dev/contract-project/crew/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    env   = { GREETING = "a \"quoted\" $greeting" }
  }
  large = {
    image           = "europe-west1-docker.pkg.dev/contract-project/crew/ours@sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
    cpu             = "4"
    memory          = "8Gi"
    timeout_seconds = 7200
    secrets         = { API_KEY = "api-key" }
  }
}
EOF
export TF_IN_AUTOMATION=1 CHECKPOINT_DISABLE=1
if [ -n "$installer" ]; then
    TF_CLI_CONFIG_FILE=$("$python" "$installer" install "$scratch/provider")
    export TF_CLI_CONFIG_FILE TF_DISABLE_PLUGIN_TLS=1
fi
export GOOGLE_OAUTH_ACCESS_TOKEN=stub
export GOOGLE_STORAGE_CUSTOM_ENDPOINT="$address/storage/v1/" GOOGLE_CLOUD_RUN_V2_CUSTOM_ENDPOINT="$address/v2/"
export GOOGLE_ARTIFACT_REGISTRY_CUSTOM_ENDPOINT="$address/ar/v1/" GOOGLE_SECRET_MANAGER_CUSTOM_ENDPOINT="$address/sm/v1/"
export GOOGLE_IAM_BETA_CUSTOM_ENDPOINT="$address/iam/v1/" GOOGLE_IAM_CUSTOM_ENDPOINT="$address/iam/v1/" # of newer and of older providers
export GOOGLE_RESOURCE_MANAGER_CUSTOM_ENDPOINT="$address/crm/v1/" GOOGLE_SERVICE_USAGE_CUSTOM_ENDPOINT="$address/su/v1/"

terraform_() {
    verb=$1
    shift
    terraform -chdir="$scratch/kit/terraform" "$verb" "$@" > "$scratch/terraform.log" 2>&1 || {
        tail -n 40 "$scratch/terraform.log" >&2
        fail "terraform $verb"
    }
    cat "$scratch/terraform.log"
}

echo '== terraform apply'
terraform_ init -input=false -no-color > /dev/null
terraform_ apply -auto-approve -input=false -no-color -var-file=contract.tfvars > /dev/null
terraform_ plan -detailed-exitcode -input=false -no-color -var-file=contract.tfvars > /dev/null # 2, where anything differs
terraform_ output -raw sortie_toml > "$scratch/work/sortie.toml"
terraform_ output -json sortie_config > "$scratch/settings.json"

echo '== what the emulator holds now'
"$python" - "$address" "$scratch/settings.json" << 'EOF'
import json, sys, urllib.request
def get(path):
    request = urllib.request.Request(f"{sys.argv[1]}/{path}", headers={"Authorization": "Bearer stub"})
    return json.load(urllib.request.urlopen(request, timeout=30))
settings = json.load(open(sys.argv[2]))
stored = get("storage/v1/b/contract-project-crew/o/config%2Fsortie.json?alt=media")
assert stored == settings, (stored, settings)
bucket = get("storage/v1/b/contract-project-crew")
rules = {tuple(rule["condition"].get("matchesPrefix", [])): rule for rule in bucket["lifecycle"]["rule"] if rule["action"]["type"] == "Delete"}
assert rules["inputs/",]["condition"]["daysSinceCustomTime"] == 14 and "age" not in rules["inputs/",]["condition"], rules
assert rules["runs/",]["condition"]["age"] == 30, rules
job = get("v2/projects/contract-project/locations/europe-west1/jobs/crew-large")
task = job["template"]["template"]
[container] = task["containers"]
assert container["resources"]["limits"] == {"cpu": "4", "memory": "8Gi"}, container
assert (task.get("maxRetries"), task["timeout"]) == (0, "7200s"), task
assert "command" not in container and "args" not in container, container
assert task["serviceAccount"].startswith("crew-large@"), task
EOF

echo '== sortie init, by the copy in the bucket'
mkdir "$scratch/elsewhere"
(cd "$scratch/elsewhere" && "$SORTIE" init gs://contract-project-crew 2> init.log) || fail "$(cat "$scratch/elsewhere/init.log")"
"$python" - "$scratch/work/sortie.toml" "$scratch/elsewhere/sortie.toml" << 'EOF'
import sys, tomllib
made, copied = (tomllib.load(open(path, "rb")) for path in sys.argv[1:])
for environment in [*made["environments"].values(), *copied["environments"].values()]:
    environment.setdefault("secrets", [])
assert made == copied, (made, copied)
EOF

echo '== sortie run, by these settings'
cd "$scratch/work"
echo 'one two three' > words
run() {
    out=$1
    shift
    "$SORTIE" run --out "$out" "$@" > "$out.log" 2>&1 || {
        cat "$out.log" >&2
        fail "sortie run $*"
    }
}
# shellcheck disable=SC2016 # for the container's shell
run first --input words=words -- /bin/sh -c 'wc -w < input/words > output/count; printf %s "$GREETING" > output/greeting; echo "$CLOUD_RUN_JOB"'
[ "$(tr -d ' ' < first/output/count)" = 3 ] || fail "three words were counted as $(cat first/output/count)"
# shellcheck disable=SC2016
[ "$(cat first/output/greeting)" = 'a "quoted" $greeting' ] || fail "a variable of the environment became: $(cat first/output/greeting)"
[ "$(cat first/stdout)" = crew-default ] || fail "another job ran: $(cat first/stdout)"
grep -q 'sortie\.toml' first.log || fail "the settings came from elsewhere: $(head -n 1 first.log)"
# shellcheck disable=SC2016
run second --environment large -- /bin/sh -c 'echo "$CLOUD_RUN_JOB ${#API_KEY}"'
[ "$(cat second/stdout)" = 'crew-large 9' ] || fail "another job ran, or its secret was not there: $(cat second/stdout)"

echo '== terraform destroy'
terraform_ destroy -auto-approve -input=false -no-color -var-file=contract.tfvars > /dev/null
"$python" - "$address" << 'EOF'
import sys, urllib.error, urllib.request
for path in ("storage/v1/b/contract-project-crew", "v2/projects/contract-project/locations/europe-west1/jobs/crew-default"):
    try:
        urllib.request.urlopen(urllib.request.Request(f"{sys.argv[1]}/{path}", headers={"Authorization": "Bearer stub"}), timeout=30)
    except urllib.error.HTTPError as error:
        assert error.code == 404, (path, error.code)
    else:
        raise AssertionError(f"{path} is still there")
EOF
