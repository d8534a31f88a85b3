// Queues: their settings (JOB-11, JOB-13).
#include <fmt/format.h>

#include "rules/jobs.h"

namespace holdfast::rules {
namespace {

/// Sets `field` if the change names it, and lists it in `details` (the members of a JSON object).
template <typename T, typename Format>
void Update(T& field, const std::optional<T>& change, std::string_view name, std::string& details,
            Format format) {
  if (!change) return;
  field = *change;
  details += fmt::format("{}\"{}\":{}", details.empty() ? "" : ",", name, format(*change));
}

std::string FormatBound(const std::optional<std::int64_t>& bound) {
  return bound ? fmt::to_string(*bound) : "null";
}
std::string FormatBool(bool value) {
  return value ? "true" : "false";
}
std::string FormatSeconds(Duration value) {
  return fmt::format("\"{}s\"", std::chrono::duration_cast<std::chrono::seconds>(value).count());
}

std::string_view StatusOf(const Queue& queue) {
  return queue.paused ? "paused" : "running";
}

}  // namespace

Result<OperationOutcome> ApplyOperation(Rows& rows, const SetQueue& op, const Origin& origin) {
  QueueRow& row = rows.QueueNamed(op.name);
  Queue& queue = rows.Edit(row);
  std::string_view old_status = StatusOf(queue);
  std::int64_t claimable = ClaimableOf(queue);
  std::string details;
  Update(queue.paused, op.paused, "paused", details, FormatBool);
  Update(queue.max_pending, op.max_pending, "max_pending", details, FormatBound);
  Update(queue.max_running, op.max_running, "max_running", details, FormatBound);
  Update(queue.audit, op.audit, "audit", details, FormatBool);
  Update(queue.retain_completed, op.retain_completed, "retain_completed", details, FormatSeconds);
  Update(queue.retain_failed, op.retain_failed, "retain_failed", details, FormatSeconds);
  // Resumed, or allowed to run more: those who wait for this queue may go on.
  if (ClaimableOf(queue) > claimable)
    rows.NoteReady(queue.name, "", ClaimableOf(queue) - claimable);
  WriteAudit(rows, origin,
             {.operation = "queue.set",
              .target = "queue/" + queue.name,
              .old_status = old_status,
              .new_status = StatusOf(queue),
              .details = "{" + details + "}"});
  return OperationOutcome{.queue = &row};
}

}  // namespace holdfast::rules
