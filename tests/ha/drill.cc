// The failover drill: load on a cluster whose primary is killed, round after round; then everything
// that was acknowledged is looked for. Started by tools/ha/drill.
//
//   ha_drill URL ROUNDS COMMAND_THAT_KILLS_THE_PRIMARY COMMAND_THAT_MAKES_THE_CLUSTER_WHOLE
#include <fmt/format.h>
#include <stdio.h>

#include <cstdlib>
#include <stdexcept>

#include "ha/clients.h"
#include "testing/matchers.h"

namespace holdfast::drill {
namespace {

using std::chrono::milliseconds;
using std::chrono::minutes;
using std::chrono::seconds;

// Successes after the kill by which a sort of work goes on: more than can have been under way.
constexpr std::size_t kGoesOn = 20;
constexpr auto kPatience = minutes(3);
constexpr auto kWarmUp = seconds(5);

double SecondsOf(std::chrono::duration<double> duration) {
  return duration.count();
}

/// What the command printed, without its line end.
std::string Do(const std::string& command) {
  FILE* pipe = ::popen(command.c_str(), "r");
  std::string output;
  for (int c = pipe == nullptr ? EOF : ::fgetc(pipe); c != EOF; c = ::fgetc(pipe)) {
    if (c != '\n') output += static_cast<char>(c);
  }
  if (pipe == nullptr || ::pclose(pipe) != 0) throw std::runtime_error("failed: " + command);
  return output;
}

/// One line of the table.
void Round(int number, const History& history, const std::string& kill, const std::string& heal) {
  std::this_thread::sleep_for(kWarmUp);
  const SteadyTime before = std::chrono::steady_clock::now();
  const std::string node = Do(kill);
  const SteadyTime killed = std::chrono::steady_clock::now();
  for (std::size_t sort = 0; sort < kSorts; ++sort) {
    while (history.CountSince(static_cast<Sort>(sort), killed) < kGoesOn) {
      if (std::chrono::steady_clock::now() > killed + kPatience) {
        throw std::runtime_error(fmt::format("no {} after the kill", kSortNames[sort]));
      }
      std::this_thread::sleep_for(milliseconds(100));
    }
  }
  std::string line = fmt::format("| {} | {} |", number, node);
  for (std::size_t sort = 0; sort < kSorts; ++sort) {
    const Duration gap = history.LongestGap(static_cast<Sort>(sort), before);
    line += fmt::format(" {:.1f} |", SecondsOf(gap));
  }
  const SteadyTime healing = std::chrono::steady_clock::now();
  (void)Do(heal);
  line += fmt::format(" {:.1f} |", SecondsOf(std::chrono::steady_clock::now() - healing));
  line += fmt::format(" {:.1f} |\n", SecondsOf(history.LongestGap(Sort::kIncrement, healing)));
  std::fputs(line.c_str(), stdout);
  std::fflush(stdout);
}

void PrintCounts(const History& history, std::int64_t fenced) {
  std::fputs(
      "\n| | acknowledged | `unavailable` | `outcome_unknown` | had been done |\n"
      "|---|---|---|---|---|\n",
      stdout);
  for (std::size_t sort = 0; sort < kSorts; ++sort) {
    const Counts& counts = history.counts(static_cast<Sort>(sort));
    std::fputs(fmt::format("| {} | {} | {} | {} | {} |\n", kSortNames[sort], counts.acknowledged,
                           counts.unavailable, counts.unknown, counts.replayed)
                   .c_str(),
               stdout);
  }
  std::fputs(fmt::format("\n{} reports came after the lease and were fenced.\n", fenced).c_str(),
             stdout);
}

int Run(const std::string& url, int rounds, const std::string& kill, const std::string& heal) {
  std::vector<std::unique_ptr<Store>> nodes;
  for (int i = 0; i < 2; ++i) nodes.push_back(testing::Must(OpenStore(url)));
  History history;
  Clients clients(nodes, history);
  std::fputs(
      "| round | killed | enqueue s | complete s | lock s | increment s | whole again s | "
      "longest pause meanwhile s |\n|---|---|---|---|---|---|---|---|\n",
      stdout);
  for (int i = 1; i <= rounds; ++i) Round(i, history, kill, heal);
  clients.Stop();
  // Asked anew: what the nodes remember is not what the servers have.
  clients.Verify(*testing::Must(OpenStore(url, {.maintain = false})));
  PrintCounts(history, clients.fenced());
  std::fputs(fmt::format("{} tokens were issued, the last {}.\n", history.issued().size(),
                         history.issued().empty() ? 0 : history.issued().back().token)
                 .c_str(),
             stdout);
  for (const std::string& complaint : history.complaints()) {
    std::fputs((complaint + "\n").c_str(), stdout);
  }
  std::fputs(fmt::format("{} things are wrong\n", history.complaints().size()).c_str(), stdout);
  return history.complaints().empty() ? 0 : 1;
}

}  // namespace
}  // namespace holdfast::drill

int main(int argc, char** argv) {
  if (argc != 5) {
    std::fputs("usage: ha_drill URL ROUNDS KILL_COMMAND HEAL_COMMAND\n", stderr);
    return 2;
  }
  try {
    return holdfast::drill::Run(argv[1], std::atoi(argv[2]), argv[3], argv[4]);
  } catch (const std::exception& error) {
    std::fputs((std::string("ha_drill: ") + error.what() + "\n").c_str(), stderr);
    return 1;
  }
}
