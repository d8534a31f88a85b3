// Tickets that many people work on at once: no escalation is lost, and bulk changes are all or
// nothing.
//
//   tickets [KINDS [STORE]]
#include <algorithm>

#include "examples/kinds.h"

namespace {

using holdfast::Record;
using holdfast::Result;

/// Tickets of the shipped kind. Every call may be made from any thread.
class Tickets {
 public:
  explicit Tickets(holdfast::Store& store) : store_(store) {}

  Result<Record> Open(const std::string& id, const std::string& title) {
    return store_.Create({}, {.kind = "ticket",
                              .id = id,
                              .data = R"({"title":")" + title + R"(","level":0,"history":[]})"});
  }
  /// One level up, the assignee and an entry in the history: one change.
  Result<Record> Escalate(const std::string& id, const std::string& assignee) {
    return store_.Run(
        {.actor = assignee},
        {{.kind = "ticket", .id = id}, "escalate", R"({"assignee":")" + assignee + R"("})"});
  }
  Result<Record> Resolve(const std::string& id, const std::string& comment) {
    return store_.Transition({}, Move(id, "RESOLVED", comment));
  }
  /// All of them or none. The store locks records in an order of its own, so that no two bulk
  /// changes can block each other; sorting makes the answers come in order, too.
  Result<holdfast::Receipt> MoveAll(std::vector<std::string> ids, const std::string& status,
                                    const std::string& comment) {
    std::sort(ids.begin(), ids.end());
    holdfast::Batch batch;
    for (const std::string& id : ids) batch.operations.push_back(Move(id, status, comment));
    return store_.Commit({}, std::move(batch));
  }
  Result<Record> Get(const std::string& id) {
    Result<std::optional<Record>> ticket = store_.GetRecord({}, {"ticket", id});
    if (!ticket) return std::unexpected(ticket.error());
    if (!*ticket) return holdfast::Fail(holdfast::ErrorCode::kNotFound, "no ticket " + id);
    return **ticket;
  }

 private:
  static holdfast::TransitionRecord Move(const std::string& id, const std::string& status,
                                         const std::string& comment) {
    std::string data = comment.empty() ? "{}" : R"({"comment":")" + comment + R"("})";
    return {{.kind = "ticket", .id = id}, status, data};
  }

  holdfast::Store& store_;
};

/// How often `word` occurs in `text`.
int CountOf(const std::string& text, const std::string& word) {
  int count = 0;
  for (std::size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    ++count;
  }
  return count;
}

/// Ten threads escalate each of the tickets once.
bool NoEscalationIsLost(Tickets& tickets, const std::vector<std::string>& ids) {
  examples::RunThreads(10, [&](int thread) {
    for (const std::string& id : ids) {
      Result<Record> ticket = tickets.Escalate(id, "agent-" + std::to_string(thread));
      if (!ticket) examples::Report(ticket.error());
    }
  });
  std::int64_t levels = 0;
  std::int64_t entries = 0;
  for (const std::string& id : ids) {
    Result<Record> ticket = tickets.Get(id);
    if (!ticket) return examples::Report(ticket.error()) == 0;
    levels += examples::NumberIn(*ticket, "level");
    entries += CountOf(ticket->data, R"("action":"escalate")");
  }
  std::cout << "100 escalations: the levels sum to " << levels << ", with " << entries
            << " history entries\n";
  return levels == 100 && entries == 100;
}

}  // namespace

int main(int argc, char** argv) {
  auto store = holdfast::OpenStore(argc > 2 ? argv[2] : "memory:");
  if (!store) return examples::Report(store.error());
  auto kind = examples::DeclareKind(**store, argc > 1 ? argv[1] : HOLDFAST_KINDS_DIR, "ticket");
  if (!kind) return examples::Report(kind.error());
  Tickets tickets(**store);
  std::vector<std::string> ids;
  for (int i = 0; i < 10; ++i) {
    ids.push_back("T-" + std::to_string(i));
    if (auto opened = tickets.Open(ids.back(), "Printer on fire"); !opened) {
      return examples::Report(opened.error());
    }
  }
  if (!NoEscalationIsLost(tickets, ids)) return 1;

  // A ticket that is resolved needs a comment, and then it cannot be moved with the others.
  if (auto opened = tickets.MoveAll(ids, "OPEN", ""); !opened) {
    return examples::Report(opened.error());
  }
  auto silent = tickets.Resolve("T-0", "");
  auto resolved = tickets.Resolve("T-0", "water");
  if (silent || !resolved) return 1;
  std::cout << "without a comment: " << silent.error().message << "\n";
  auto bulk = tickets.MoveAll(ids, "ONHOLD", "");
  auto untouched = tickets.Get("T-9");
  if (bulk || !untouched) return 1;
  std::cout << "all at once: " << bulk.error().message << "; T-9 is " << untouched->status << "\n";
  return untouched->status == "OPEN" ? 0 : 1;
}
