#!/bin/sh
# A session over HTTP with nothing but curl: add a job, take it, finish it, and see what is refused.
#
#   holdfast serve &
#   examples/http.sh [http://127.0.0.1:8420]
set -eu
server=${1:-http://127.0.0.1:8420}
json='Content-Type: application/json'

say() { printf '\n# %s\n' "$*"; }
field() { sed -n "s/.*\"$1\":\"\([^\"]*\)\".*/\1/p"; }

say add a job, once, however often this is sent
job=$(curl -sS --fail -H "$json" -H "Idempotency-Key: order-$$" \
  -d '{"kind":"email","queue":"mail","payload":{"to":"ada"}}' "$server/v1/jobs")
echo "$job"
id=$(echo "$job" | field id)

say take the next job of the queue, and wait up to five seconds for one
claimed=$(curl -sS --fail -H "$json" \
  -d '{"worker":"shell","queues":["mail"],"lease":"30s","wait":"5s"}' "$server/v1/jobs/claim")
echo "$claimed"
token=$(echo "$claimed" | field token)

say report progress
curl -sS --fail -H "$json" -d "{\"token\":\"$token\",\"progress\":0.5,\"message\":\"half\"}" \
  "$server/v1/jobs/$id/progress"

say finish it
curl -sS --fail -H "$json" -d "{\"token\":\"$token\",\"result\":{\"sent\":true}}" \
  "$server/v1/jobs/$id/complete"

say a mistake gets a problem document that names it
curl -sS -H "$json" -d '{"kind":"email","prioritty":1}' "$server/v1/jobs"

say what is in the queues
curl -sS --fail "$server/v1/queues"
echo
