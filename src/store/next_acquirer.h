// Takes the lock of the first record that a filter lets through and whose lock is free.
#pragma once

#include <memory>
#include <string>

#include "holdfast/store.h"

namespace holdfast::store {

/// Its steps follow one another, on whichever threads; no thread waits for a commit. Reads are made
/// where a step runs. Keeps itself alive until `done` has run.
class NextAcquirer : public std::enable_shared_from_this<NextAcquirer> {
 public:
  NextAcquirer(Store& store, const Context& context, RecordFilter filter, AcquireLock request,
               AcquireNextDone done);

  /// The request was validated, and names no lock.
  void Start();

 private:
  void TakePage();
  void TryPage();
  void OnAnswer(Result<std::vector<LockGrant>> answer);
  void OnGrant(LockGrant grant);
  void GiveBack(const LockGrant& grant, std::function<void()> next);

  Store& store_;
  const Context context_;
  RecordFilter filter_;
  AcquireLock request_;
  AcquireNextDone done_;
  RecordPage page_;
};

}  // namespace holdfast::store
