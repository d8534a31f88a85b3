#include "testing/matchers.h"

#include "base/text.h"

namespace holdfast {
namespace {

void PrintTime(std::ostream* out, const char* name, const std::optional<Time>& time) {
  if (time) *out << " " << name << "=" << base::FormatTime(*time);
}

}  // namespace

void PrintTo(const Job& job, std::ostream* out) {
  *out << "job{id=" << job.id << " " << NameOf(job.state) << " queue=" << job.queue
       << " kind=" << job.kind << " priority=" << job.priority << " attempt=" << job.attempt << "/"
       << job.max_attempts << " payload=" << job.payload.substr(0, 64)
       << " result=" << job.result.value_or("-").substr(0, 64) << " worker=" << job.worker
       << " token=" << job.token << " expiries=" << job.lease_expiries
       << " unique=" << job.unique_key << "/" << int{job.unique_states.bits()}
       << " parent=" << job.parent.value_or(0) << " tags=" << job.tags.size()
       << " metadata=" << job.metadata.substr(0, 64) << " cancel=" << job.cancel_requested;
  if (job.progress) *out << " progress=" << *job.progress << " '" << job.message << "'";
  PrintTime(out, "run_at", job.run_at);
  PrintTime(out, "created", job.created_at);
  PrintTime(out, "started", job.started_at);
  PrintTime(out, "finished", job.finished_at);
  PrintTime(out, "lease", job.lease_expires_at);
  for (const JobError& error : job.errors) {
    *out << " error{" << error.attempt << " " << error.worker << " " << base::FormatTime(error.at)
         << " " << error.message.substr(0, 64) << "}";
  }
  *out << "}";
}

void PrintTo(const AuditEntry& entry, std::ostream* out) {
  *out << "audit{" << entry.sequence << " " << base::FormatTime(entry.at) << " by '" << entry.actor
       << "' " << entry.operation << " " << entry.target << " " << entry.old_status << "->"
       << entry.new_status << " token=" << entry.token << " wait=" << entry.lock_wait.count()
       << "us commit=" << entry.commit.count() << "us correlation=" << entry.correlation_id
       << " details=" << entry.details << " error=" << entry.error << " x" << entry.count << "}";
}

void PrintTo(const Queue& queue, std::ostream* out) {
  *out << "queue{" << queue.name << " paused=" << queue.paused
       << " max_pending=" << queue.max_pending.value_or(-1)
       << " max_running=" << queue.max_running.value_or(-1) << " audit=" << queue.audit
       << " retain=" << queue.retain_completed.count() << "/" << queue.retain_failed.count()
       << " counts=";
  for (std::int64_t count : queue.counts) *out << count << ",";
  PrintTime(out, "oldest", queue.oldest_pending_at);
  *out << "}";
}

}  // namespace holdfast
