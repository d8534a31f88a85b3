// Limited places: however many apply at once, and in whatever order they are approved, a campaign
// never has more people than places.
//
//   campaigns [KINDS [STORE]]
#include "examples/kinds.h"

namespace {

using holdfast::Record;
using holdfast::Result;

/// Campaigns and applications of the shipped kinds. Every call may be made from any thread.
class Campaigns {
 public:
  explicit Campaigns(holdfast::Store& store) : store_(store) {}

  /// `places`: nothing is unlimited.
  Result<Record> Open(const std::string& id, std::optional<int> places) {
    std::string limit = places ? std::to_string(*places) : "null";
    return store_.Create({}, {.kind = "campaign",
                              .id = id,
                              .data = R"({"title":")" + id +
                                      R"(","is_active":true,"max_participants":)" + limit + "}"});
  }
  Result<Record> Limit(const std::string& id, int places) {
    return store_.Merge({}, {{.kind = "campaign", .id = id},
                             R"({"max_participants":)" + std::to_string(places) + "}"});
  }
  /// Errors: capacity_full, already_exists (the user has applied before).
  Result<Record> Apply(const std::string& campaign, const std::string& user) {
    return store_.Create({}, {.kind = "application",
                              .data = R"({"user":")" + user + R"("})",
                              .parent = holdfast::RecordKey{"campaign", campaign}});
  }
  /// Approves one after the other, in this order, as long as there are places. One commit; each
  /// approval is done or refused on its own.
  std::vector<Result<holdfast::Receipt>> ApproveMany(const std::vector<std::string>& ids) {
    std::vector<holdfast::Batch> batches;
    for (const std::string& id : ids) {
      batches.push_back({.operations = {holdfast::TransitionRecord{
                             {.kind = "application", .id = id}, "approved"}}});
    }
    return store_.CommitMany({}, std::move(batches));
  }
  /// How many applications of a campaign have this status: the store keeps count.
  std::int64_t Count(const std::string& campaign, const std::string& status) {
    Result<std::optional<Record>> record = store_.GetRecord({}, {"campaign", campaign});
    if (!record || !*record) return -1;
    for (const holdfast::ChildCount& count : (*record)->children) {
      if (count.kind == "application" && count.status == status) return count.count;
    }
    return 0;
  }

 private:
  holdfast::Store& store_;
};

/// Twenty users apply at once for ten places, and each of them twice.
bool TenOfTwentyGetIn(Campaigns& campaigns) {
  if (auto opened = campaigns.Open("course", 10); !opened) {
    return examples::Report(opened.error()) == 0;
  }
  std::atomic<int> in = 0;
  examples::RunThreads(20, [&](int user) {
    for (int attempt = 0; attempt < 2; ++attempt) {
      if (campaigns.Apply("course", "user-" + std::to_string(user))) ++in;
    }
  });
  std::int64_t pending = campaigns.Count("course", "pending");
  std::cout << in << " of 20 applied for 10 places, " << pending << " are pending\n";
  return in == 10 && pending == 10;
}

/// Ten have applied while there was no limit. Then there are four places.
bool FourAreApprovedInOrder(Campaigns& campaigns) {
  if (auto opened = campaigns.Open("trip", std::nullopt); !opened) {
    return examples::Report(opened.error()) == 0;
  }
  std::vector<std::string> ids;
  for (int user = 0; user < 10; ++user) {
    Result<Record> application = campaigns.Apply("trip", "user-" + std::to_string(user));
    if (!application) return examples::Report(application.error()) == 0;
    ids.push_back(application->id);
  }
  if (auto limited = campaigns.Limit("trip", 4); !limited) {
    return examples::Report(limited.error()) == 0;
  }
  bool in_order = true;
  std::vector<Result<holdfast::Receipt>> answers = campaigns.ApproveMany(ids);
  for (std::size_t i = 0; i < answers.size(); ++i) {
    if (answers[i].has_value() != (i < 4)) in_order = false;
    if (i == 4 && !answers[i]) std::cout << "the fifth: " << answers[i].error().message << "\n";
  }
  std::int64_t approved = campaigns.Count("trip", "approved");
  std::int64_t pending = campaigns.Count("trip", "pending");
  std::cout << approved << " approved, " << pending << " still pending\n";
  return in_order && approved == 4 && pending == 6;
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 2 ? argv[2] : "memory:");
  if (!store) return examples::Report(store.error());
  for (const char* name : {"campaign", "application"}) {
    auto kind = examples::DeclareKind(**store, argc > 1 ? argv[1] : HOLDFAST_KINDS_DIR, name);
    if (!kind) return examples::Report(kind.error());
  }
  Campaigns campaigns(**store);
  return TenOfTwentyGetIn(campaigns) && FourAreApprovedInOrder(campaigns) ? 0 : 1;
}
