#include "rules/answer_size.h"

namespace holdfast::rules {
namespace {

/// Names, times, numbers and punctuation of an item as JSON, and the object in memory.
constexpr std::size_t kFlat = 512;
constexpr std::size_t kFlatPart = 128;

std::size_t BytesOfParent(const std::optional<RecordKey>& key) {
  return key ? key->kind.size() + key->id.size() : 0;
}

}  // namespace

std::size_t SizeOf(const Job& job) {
  std::size_t size = kFlat + job.queue.size() + job.kind.size() + job.payload.size() +
                     job.metadata.size() + job.message.size() + job.worker.size() +
                     job.unique_key.size();
  if (job.result) size += job.result->size();
  for (const JobError& error : job.errors) {
    size += kFlatPart + error.worker.size() + error.message.size();
  }
  for (const std::string& tag : job.tags) size += sizeof tag + tag.size();
  return size;
}

std::size_t SizeOf(const Record& record) {
  std::size_t size = kFlat + record.kind.size() + record.id.size() + record.status.size() +
                     record.data.size() + record.updated_by.size() + BytesOfParent(record.parent);
  for (const Reservation& reserved : record.reserved) size += kFlatPart + reserved.path.size();
  return size + kFlatPart * record.children.size();
}

std::size_t SizeOf(const Kind& kind) {
  return kFlat + kind.name.size() + kind.rules.size() + kind.updated_by.size();
}

std::size_t SizeOf(const Transfer& transfer) {
  return kFlat + transfer.from.kind.size() + transfer.from.id.size() + transfer.to.kind.size() +
         transfer.to.id.size() + transfer.path.size() + transfer.created_by.size();
}

std::size_t SizeOf(const Lock& lock) {
  std::size_t size = kFlat + lock.name.size();
  for (const LockHolder& holder : lock.holders) size += kFlatPart + holder.owner.size();
  for (const LockWaiter& waiter : lock.waiters) size += kFlatPart + waiter.owner.size();
  return size;
}

std::size_t SizeOf(const LockGrant& grant) {
  return kFlat + grant.name.size() + grant.owner.size();
}

std::size_t SizeOf(const Queue& queue) {
  return kFlat + queue.name.size();
}

std::size_t SizeOf(const AuditEntry& entry) {
  return kFlat + entry.actor.size() + entry.operation.size() + entry.target.size() +
         entry.old_status.size() + entry.new_status.size() + entry.correlation_id.size() +
         entry.details.size() + entry.error.size();
}

}  // namespace holdfast::rules
