// A job with sub-jobs that many try to close at once: parent and children change in one commit.
//
//   job_workflow [KINDS [STORE]]
#include "examples/kinds.h"

namespace {

using holdfast::Record;
using holdfast::Result;

/// Jobs of the shipped kind jobneed. Every call may be made from any thread.
class JobWorkflow {
 public:
  explicit JobWorkflow(holdfast::Store& store) : store_(store) {}

  Result<Record> Add(const std::string& id, const std::string& parent = "") {
    holdfast::CreateRecord create{.kind = "jobneed", .id = id};
    if (!parent.empty()) create.parent = holdfast::RecordKey{"jobneed", parent};
    return store_.Create({}, std::move(create));
  }
  /// Errors: invalid_transition.
  Result<Record> MoveTo(const std::string& id, const std::string& status) {
    return store_.Transition({}, {{.kind = "jobneed", .id = id}, status});
  }
  /// PARTIALLYCOMPLETED if it was being worked on and some of its children are done, else
  /// AUTOCLOSED; and AUTOCLOSED for every child that nobody has begun.
  Result<Record> Autoclose(const std::string& id, const std::string& reason) {
    return store_.Run(
        {.actor = "scheduler"},
        {{.kind = "jobneed", .id = id}, "autoclose", R"({"reason":")" + reason + R"("})"});
  }
  std::string StatusOf(const std::string& id) {
    Result<std::optional<Record>> job = store_.GetRecord({}, {"jobneed", id});
    return job && *job ? (*job)->status : "(none)";
  }

 private:
  holdfast::Store& store_;
};

/// A job that somebody works on: of its three children one is done and two are not begun.
Result<void> Prepare(JobWorkflow& jobs) {
  for (const char* id : {"round", "pump", "valve", "gate"}) {
    Result<Record> added = jobs.Add(id, id == std::string("round") ? "" : "round");
    if (!added) return std::unexpected(added.error());
  }
  const std::pair<const char*, const char*> moves[] = {
      {"round", "INPROGRESS"}, {"pump", "INPROGRESS"}, {"pump", "COMPLETED"}};
  for (const auto& [id, status] : moves) {
    if (Result<Record> moved = jobs.MoveTo(id, status); !moved) {
      return std::unexpected(moved.error());
    }
  }
  return {};
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 2 ? argv[2] : "memory:");
  if (!store) return examples::Report(store.error());
  auto kind = examples::DeclareKind(**store, argc > 1 ? argv[1] : HOLDFAST_KINDS_DIR, "jobneed");
  if (!kind) return examples::Report(kind.error());
  JobWorkflow jobs(**store);
  if (Result<void> prepared = Prepare(jobs); !prepared) return examples::Report(prepared.error());

  // The first to close it finds it partially completed, the second closes it for good, and to all
  // others it is closed already.
  std::atomic<int> partially = 0;
  std::atomic<int> closed = 0;
  std::atomic<int> refused = 0;
  examples::RunThreads(10, [&](int) {
    Result<Record> job = jobs.Autoclose("round", "end of shift");
    if (job && job->status == "PARTIALLYCOMPLETED") ++partially;
    if (job && job->status == "AUTOCLOSED") ++closed;
    if (!job && job.error().code == holdfast::ErrorCode::kInvalidTransition) ++refused;
  });
  std::cout << "ten closed it at once: " << partially << " partially, " << closed << " for good, "
            << refused << " refused\n";
  for (const char* id : {"round", "pump", "valve", "gate"}) {
    std::cout << id << " " << jobs.StatusOf(id) << "\n";
  }
  bool exact = partially == 1 && closed == 1 && refused == 8;
  bool right = jobs.StatusOf("round") == "AUTOCLOSED" && jobs.StatusOf("pump") == "COMPLETED" &&
               jobs.StatusOf("valve") == "AUTOCLOSED" && jobs.StatusOf("gate") == "AUTOCLOSED";
  return exact && right ? 0 : 1;
}
