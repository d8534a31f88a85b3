// holdfast serve: a store for programs on other machines and in other languages.
#include <fmt/format.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <memory>

#include "base/result.h"
#include "cli/cli.h"
#include "cli/lock_presets.h"
#include "cli/server.h"
#include "cli/signals.h"

namespace holdfast::cli {

std::string LocalServer::url() const {
  bool is_ipv6 = host_.find(':') != std::string::npos;
  return fmt::format(fmt::runtime(is_ipv6 ? "http://[{}]:{}" : "http://{}:{}"), host_,
                     server_.port());
}

void LocalServer::Stop(Duration grace) {
  api_.Drain();
  server_.Stop(grace);
}

namespace {

constexpr Duration kDay = std::chrono::hours(24);

struct ServeOptions {
  net::ServerOptions server;
  std::string listen = "127.0.0.1:8420";
  std::vector<std::string> lock_presets;
  Duration grace = std::chrono::seconds(25);
};

/// "HOST:PORT", "[::1]:PORT" or ":PORT".
Result<void> ParseListen(const std::string& text, net::ServerOptions& server) {
  auto bad = [&] {
    return Fail(ErrorCode::kInvalidArgument,
                fmt::format("--listen: '{}' is not HOST:PORT, such as 127.0.0.1:8420",
                            text.substr(0, 300)));
  };
  std::size_t colon = text.rfind(':');
  if (colon == std::string::npos) return bad();
  auto port = base::ParseInteger(std::string_view(text).substr(colon + 1));
  if (!port || *port > 65535) return bad();
  std::string host = text.substr(0, colon);
  if (host.starts_with('[') && host.ends_with(']')) host = host.substr(1, host.size() - 2);
  server.host = host.empty() ? "0.0.0.0" : host;
  server.port = static_cast<std::uint16_t>(*port);
  return {};
}

/// A connection needs a descriptor, and the usual soft limit of 1,024 is less than the connections
/// that the server takes. If it cannot be raised, the server refuses connections a little earlier.
void RaiseDescriptorLimit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0 || limit.rlim_cur == limit.rlim_max) return;
  limit.rlim_cur = limit.rlim_max;
  (void)setrlimit(RLIMIT_NOFILE, &limit);
}

/// Lets requests under way finish, and closes the store. What takes longer than the grace is not
/// waited for: what was acknowledged is durable, and the client of a commit that is still under way
/// finds its connection closed, which means that the outcome is unknown.
void Stop(StopSignals& signals, LogSink& log, std::unique_ptr<LocalServer> server,
          std::unique_ptr<Store> store, Duration grace) {
  constexpr Duration kClosing = std::chrono::seconds(1);
  const SteadyTime give_up = std::chrono::steady_clock::now() + std::min<Duration>(grace, kDay);
  auto end_now = [&log](std::string_view what, std::string count) {
    base::Log(&log, LogLevel::kWarning, "server_stopped", [&] {
      return base::Fields{{what, std::move(count)}};
    });
    _exit(0);
  };
  auto graceful = [&] {
    server->Stop(grace);
    if (!server->AwaitIdle(give_up)) end_now("unfinished", std::to_string(server->in_flight()));
    server.reset();
    store.reset();
  };
  signals.Finish(
      graceful, [] { _exit(128 + SIGTERM); },
      [&] {
        if (std::chrono::steady_clock::now() < give_up + kClosing) return;
        end_now("unfinished", "the store does not close");
      });
  base::Log(&log, LogLevel::kInfo, "server_stopped", [] { return base::Fields{}; });
}

Result<int> Serve(Cli& cli, ServeOptions& options) {
  HF_RETURN_IF_ERROR(ParseListen(options.listen, options.server));
  if (cli.globals().store.starts_with("http:")) {
    return Fail(ErrorCode::kInvalidArgument,
                cli.ShownStore() + " is a server already: name the store that it should keep");
  }
  StoreOptions store_options;
  for (const std::string& preset : options.lock_presets) {
    HF_RETURN_IF_ERROR(AddLockPreset(preset, store_options.lock_presets));
  }
  RaiseDescriptorLimit();
  StopSignals signals;
  LogSink& log = cli.Log(LogLevel::kInfo);
  api::Metrics metrics;
  store_options.log = &log;
  store_options.metrics = &metrics;
  HF_ASSIGN_OR_RETURN(std::unique_ptr<Store> store, cli.Open(std::move(store_options)));
  const auto writes = cli.globals().store.starts_with("memory:") ? api::Api::Writes::kBlock
                                                                 : api::Api::Writes::kDoNotBlock;
  auto server = std::make_unique<LocalServer>(*store, metrics, &log, options.server, writes);
  HF_RETURN_IF_ERROR(server->Start());
  fmt::print("listening on {}\n", server->url());
  std::fflush(stdout);
  base::Log(&log, LogLevel::kInfo, "server_started", [&] {
    return base::Fields{{"url", server->url()}, {"store", cli.ShownStore()}};
  });

  int signal = signals.Wait().value_or(0);
  base::Log(&log, LogLevel::kInfo, "server_stopping", [&] {
    return base::Fields{{"signal", std::to_string(signal)},
                        {"grace", base::FormatDuration(options.grace)},
                        {"in_flight", std::to_string(server->in_flight())}};
  });
  Stop(signals, log, std::move(server), std::move(store), options.grace);
  return 0;
}

}  // namespace

void AddServeCommand(Cli& cli) {
  auto options = std::make_shared<ServeOptions>();
  CLI::App& serve = cli.AddCommand(
      cli.root(), "serve",
      "Serves a store over HTTP. Prints \"listening on URL\" when it is ready. SIGTERM, SIGINT\n"
      "or SIGHUP lets requests under way finish (--grace); a second one ends at once.",
      "holdfast serve\n"
      "holdfast serve --listen 0.0.0.0:8420 --store sqlite:/var/lib/holdfast/holdfast.db\n"
      "holdfast serve --listen 127.0.0.1:0 --store memory: --log-format json\n"
      "holdfast serve --lock-preset BILLING=20s/15s",
      [&cli, options] { return Serve(cli, *options); });
  cli.AddText(serve, "-l,--listen", options->listen, "HOST:PORT",
              "where to listen; port 0 is any free one (127.0.0.1:8420)");
  cli.AddNumber(serve, "--threads", options->server.threads, 1, "threads for connections (2)");
  cli.AddDuration(serve, "--grace", options->grace, "how long a graceful stop waits (25s)");
  cli.AddRepeated(serve, "--lock-preset", options->lock_presets, "NAME=TTL/WAIT",
                  "a named lease and wait, also in place of a shipped one; as often as wanted; "
                  "more in $HOLDFAST_LOCK_PRESETS");
}

}  // namespace holdfast::cli
