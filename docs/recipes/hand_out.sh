#!/bin/sh
# hand_out.sh BUNDLE POLICY KEY TARGET [gate options, e.g. --waivers FILE]
# Copies the public half of a release, if today's policy permits it and every file is the certified one.
# Any other outcome ends here with dpsynth's own exit code: 1 denied, 2 unusable, 3 indeterminate, 5 not verified.
set -eu
bundle=$1 policy=$2 key=$3 target=$4
shift 4
dpsynth gate "$bundle" --policy "$policy" "$@"
dpsynth verify "$bundle" --key "$key"
mkdir "$target" # fails if it is there: nothing is mixed
cp -R "$bundle/public/." "$target"
dpsynth verify "$target" --key "$key" > /dev/null
