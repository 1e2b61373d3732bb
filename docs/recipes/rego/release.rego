# Decides on the JSON that `dpsynth gate --format json` writes (schema dpsynth.decision/1, verdicts only).
# The gate has spoken before this; what stands here can only refuse more.
package dpsynth.release

import rego.v1

accepted_policies := {"healthcare-public", "healthcare-controlled"}

default allow := false

allow if count(deny) == 0

deny contains "this is not a decision of the gate" if not input["$schema"] == "dpsynth.decision/1"

deny contains "the gate does not permit the release" if not input.permitted == true

deny contains "the policy is not one of ours" if not accepted_policies[input.policy.id]

deny contains sprintf("%s is waived; this pipeline takes no waivers", [finding.rule]) if {
	some finding in input.findings
	finding.status == "waived"
}

deny contains sprintf("%s keeps the release back", [finding.rule]) if {
	some finding in input.findings
	finding.blocking
}
