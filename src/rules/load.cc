#include "rules/load.h"

namespace holdfast::rules {
namespace {

struct Collector {
  TouchedKeys& keys;

  void operator()(const EnqueueJob& operation) {
    const JobSpec& spec = operation.spec;
    ++keys.inserts;
    keys.queues.push_back(spec.queue);
    if (spec.parent) keys.jobs.push_back(*spec.parent);
    if (spec.unique) keys.unique_keys.emplace_back(spec.kind, spec.unique->key);
  }
  void operator()(const SetQueue& operation) { keys.queues.push_back(operation.name); }
  template <OnJob T>
  void operator()(const T& operation) {
    keys.jobs.push_back(operation.id);
  }
  void operator()(const auto&) {}  // records: see record_load.cc
};

}  // namespace

void FindTouchedKeys(const Batch& batch, TouchedKeys& keys) {
  Collector collect{keys};
  for (const Guard& guard : batch.guards) std::visit(collect, guard);
  for (const Operation& operation : batch.operations) std::visit(collect, operation);
  SortUnique(keys.jobs);
}

}  // namespace holdfast::rules
