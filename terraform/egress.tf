# The allow-list. Cloud Run sends all of a task's traffic into this network (jobs.tf), whose firewall decides.
#
# It is a fence, not a proof: the firewall knows addresses, which it looks up by name, and what shares an address with an
# allowed host passes too.

locals {
  egress      = var.egress == null ? toset([]) : toset(["egress"])
  egress_name = "${var.name}-egress"

  # private.googleapis.com: Google's APIs at addresses that do not change.
  google_apis = { range = "199.36.153.8/30", addresses = ["199.36.153.8", "199.36.153.9", "199.36.153.10", "199.36.153.11"] }
}

resource "google_compute_network" "egress" {
  for_each = local.egress

  project                                   = var.project
  name                                      = local.egress_name
  auto_create_subnetworks                   = false
  network_firewall_policy_enforcement_order = "BEFORE_CLASSIC_FIREWALL"

  depends_on = [google_project_service.this]
}

resource "google_compute_subnetwork" "egress" {
  for_each = local.egress

  project                  = var.project
  region                   = var.region
  name                     = local.egress_name
  network                  = google_compute_network.egress[each.key].id
  ip_cidr_range            = var.egress.range
  stack_type               = "IPV4_ONLY"
  private_ip_google_access = true
}

resource "google_compute_router" "egress" {
  for_each = local.egress

  project = var.project
  region  = var.region
  name    = local.egress_name
  network = google_compute_network.egress[each.key].id
}

resource "google_compute_router_nat" "egress" {
  for_each = local.egress

  project                            = var.project
  region                             = var.region
  name                               = local.egress_name
  router                             = google_compute_router.egress[each.key].name
  nat_ip_allocate_option             = "AUTO_ONLY"
  source_subnetwork_ip_ranges_to_nat = "LIST_OF_SUBNETWORKS"
  endpoint_types                     = var.egress.nat_endpoint_types

  subnetwork {
    name                    = google_compute_subnetwork.egress[each.key].id
    source_ip_ranges_to_nat = ["ALL_IP_RANGES"]
  }
}

resource "google_dns_managed_zone" "google_apis" {
  for_each = local.egress

  project     = var.project
  name        = "${var.name}-googleapis"
  description = "Google's APIs by the addresses that the firewall lets through."
  dns_name    = "googleapis.com."
  visibility  = "private"

  private_visibility_config {
    networks {
      network_url = google_compute_network.egress[each.key].id
    }
  }
}

resource "google_dns_record_set" "private_google_api" {
  for_each = local.egress

  project      = var.project
  managed_zone = google_dns_managed_zone.google_apis[each.key].name
  name         = "private.googleapis.com."
  type         = "A"
  ttl          = 300
  rrdatas      = local.google_apis.addresses
}

resource "google_dns_record_set" "any_google_api" {
  for_each = local.egress

  project      = var.project
  managed_zone = google_dns_managed_zone.google_apis[each.key].name
  name         = "*.googleapis.com."
  type         = "CNAME"
  ttl          = 300
  rrdatas      = [google_dns_record_set.private_google_api[each.key].name]
}

resource "google_compute_network_firewall_policy" "egress" {
  for_each = local.egress

  project     = var.project
  name        = local.egress_name
  description = "What sortie's tasks may reach."

  depends_on = [google_project_service.this]
}

locals {
  egress_rules = {
    for name, rule in {
      hosts       = { priority = 1000, action = "allow", hosts = try(tolist(var.egress.hosts), []), ranges = [] }
      google-apis = { priority = 1100, action = "allow", hosts = [], ranges = [local.google_apis.range] }
      deny-ipv4   = { priority = 2000, action = "deny", hosts = [], ranges = ["0.0.0.0/0"] }
      deny-ipv6   = { priority = 2001, action = "deny", hosts = [], ranges = ["::/0"] }
    } : name => rule if var.egress != null && length(rule.hosts) + length(rule.ranges) > 0
  }
}

resource "google_compute_network_firewall_policy_rule" "egress" {
  for_each = local.egress_rules

  project         = var.project
  firewall_policy = google_compute_network_firewall_policy.egress["egress"].name
  rule_name       = each.key
  priority        = each.value.priority
  direction       = "EGRESS"
  action          = each.value.action

  match {
    dest_fqdns     = length(each.value.hosts) == 0 ? null : each.value.hosts
    dest_ip_ranges = length(each.value.ranges) == 0 ? null : each.value.ranges

    layer4_configs {
      ip_protocol = each.value.action == "allow" ? "tcp" : "all"
      ports       = each.value.action == "allow" ? ["443"] : null
    }
  }
}

# Last, so that the network is never under half a policy.
resource "google_compute_network_firewall_policy_association" "egress" {
  for_each = local.egress

  project           = var.project
  name              = local.egress_name
  attachment_target = google_compute_network.egress[each.key].id
  firewall_policy   = google_compute_network_firewall_policy.egress[each.key].name

  depends_on = [google_compute_network_firewall_policy_rule.egress]
}
