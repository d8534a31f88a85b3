// Locks of Redis, as its documentation advises: SET NX PX, and a script that compares and deletes.
//
// Its protocol is spoken right here: of a client library two commands would be used, and a
// yardstick is not worth a library that everybody must install who builds Holdfast.
#include <fmt/format.h>

#include <boost/asio/connect.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/read.hpp>
#include <boost/asio/read_until.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/asio/write.hpp>
#include <charconv>
#include <initializer_list>
#include <optional>
#include <stop_token>
#include <thread>

#include "base/result.h"
#include "cli/bench_locks.h"
#include "cli/process.h"

namespace holdfast::cli {
namespace {

using boost::asio::ip::tcp;

constexpr auto kRetry = std::chrono::milliseconds(1);
constexpr std::string_view kLeaseMillis = "30000";
constexpr std::string_view kRelease =
    "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) end return 0";

/// Errors of every call: unavailable. Threads: one.
class RedisConnection {
 public:
  Result<void> Connect(std::uint16_t port) {
    boost::system::error_code error;
    socket_.connect({boost::asio::ip::address_v4::loopback(), port}, error);
    if (!error) socket_.set_option(tcp::no_delay(true), error);
    return error ? Broken(error.message()) : Result<void>();
  }

  /// The answer to a command, without its type; nothing for null.
  Result<std::optional<std::string>> Call(std::initializer_list<std::string_view> words) {
    std::string request = fmt::format("*{}\r\n", words.size());
    for (std::string_view word : words) {
      request += fmt::format("${}\r\n", word.size());
      request.append(word).append("\r\n");
    }
    boost::system::error_code error;
    boost::asio::write(socket_, boost::asio::buffer(request), error);
    if (error) return Broken(error.message());
    HF_ASSIGN_OR_RETURN(std::string line, ReadLine());
    const char type = line.empty() ? '-' : line.front();
    std::string rest = line.empty() ? line : line.substr(1);
    if (type == '-') return Broken(rest);
    if (type != '$') return rest;
    std::int64_t length = -1;
    std::from_chars(rest.data(), rest.data() + rest.size(), length);
    if (length < 0) return std::nullopt;
    const auto end = static_cast<std::size_t>(length) + 2;
    if (buffer_.size() < end) {
      boost::asio::read(socket_, boost::asio::dynamic_buffer(buffer_),
                        boost::asio::transfer_at_least(end - buffer_.size()), error);
      if (error) return Broken(error.message());
    }
    std::string text = buffer_.substr(0, end - 2);
    buffer_.erase(0, end);
    return text;
  }

  void Pause() { boost::asio::steady_timer(context_, kRetry).wait(); }

 private:
  Result<std::string> ReadLine() {
    boost::system::error_code error;
    const std::size_t end =
        boost::asio::read_until(socket_, boost::asio::dynamic_buffer(buffer_), "\r\n", error);
    if (error) return Broken(error.message());
    std::string line = buffer_.substr(0, end - 2);
    buffer_.erase(0, end);
    return line;
  }
  static std::unexpected<Error> Broken(const std::string& why) {
    return Fail(ErrorCode::kUnavailable, "Redis: " + why);
  }

  boost::asio::io_context context_;
  tcp::socket socket_{context_};
  std::string buffer_;
};

class RedisUser final : public LockUser {
 public:
  explicit RedisUser(int owner) : owner_(fmt::format("owner-{}", owner)) {}

  Result<void> Connect(std::uint16_t port) {
    HF_RETURN_IF_ERROR(connection_.Connect(port));
    HF_ASSIGN_OR_RETURN(auto digest, connection_.Call({"SCRIPT", "LOAD", kRelease}));
    release_ = digest.value_or("");
    return {};
  }
  Result<Token> Acquire(const std::string& name) override {
    while (true) {
      HF_ASSIGN_OR_RETURN(auto set,
                          connection_.Call({"SET", name, owner_, "NX", "PX", kLeaseMillis}));
      if (set) return 0;
      connection_.Pause();
    }
  }
  Result<void> Release(const std::string& name) override {
    HF_ASSIGN_OR_RETURN(auto deleted, connection_.Call({"EVALSHA", release_, "1", name, owner_}));
    if (deleted == "1") return {};
    return Fail(ErrorCode::kInternal, fmt::format("Redis: {} does not hold {}", owner_, name));
  }

 private:
  const std::string owner_;
  RedisConnection connection_;
  std::string release_;  // the digest of the script
};

/// One that nobody listens on at this moment.
Result<std::uint16_t> FreePort() {
  boost::asio::io_context context;
  tcp::acceptor acceptor(context);
  boost::system::error_code error;
  acceptor.open(tcp::v4(), error);
  if (!error) acceptor.bind({boost::asio::ip::address_v4::loopback(), 0}, error);
  tcp::endpoint endpoint;
  if (!error) endpoint = acceptor.local_endpoint(error);
  if (error) return Fail(ErrorCode::kUnavailable, "no port is free: " + error.message());
  return endpoint.port();
}

class OwnRedisServer final : public RedisServer {
 public:
  OwnRedisServer(std::string program, const std::string& folder, std::uint16_t port) : port_(port) {
    spec_.program = std::move(program);
    spec_.command = {"redis-server", "--port",    std::to_string(port),
                     "--bind",       "127.0.0.1", "--dir",
                     folder,         "--logfile", "redis.log",
                     "--appendonly", "yes",       "--appendfsync",
                     "always",       "--save",    "",
                     "--daemonize",  "no"};
    thread_ = std::jthread([this](const std::stop_token& stop) {
      (void)RunChild(spec_, stop, {});
      has_ended_ = true;
    });
  }

  Result<void> AwaitReady() {
    constexpr auto kMost = std::chrono::seconds(10);
    const SteadyTime give_up = std::chrono::steady_clock::now() + kMost;
    while (!has_ended_ && std::chrono::steady_clock::now() < give_up) {
      RedisConnection connection;
      if (connection.Connect(port_) && connection.Call({"PING"})) {
        HF_ASSIGN_OR_RETURN(auto info, connection.Call({"INFO", "server"}));
        constexpr std::string_view kLabel = "redis_version:";
        const std::size_t at = info ? info->find(kLabel) : std::string::npos;
        if (at != std::string::npos) {
          const std::string rest = info->substr(at + kLabel.size());
          description_ =
              fmt::format("Redis {}, appendfsync=always", rest.substr(0, rest.find('\r')));
        }
        return {};
      }
      connection.Pause();
    }
    return Fail(ErrorCode::kUnavailable, "redis-server did not start");
  }

  const std::string& description() const override { return description_; }
  Result<std::unique_ptr<LockUser>> Connect(int owner) override {
    auto user = std::make_unique<RedisUser>(owner);
    HF_RETURN_IF_ERROR(user->Connect(port_));
    return user;
  }

 private:
  const std::uint16_t port_;
  ChildSpec spec_;
  std::string description_ = "Redis, appendfsync=always";
  std::atomic<bool> has_ended_ = false;
  std::jthread thread_;  // ends the server, and is joined, first
};

}  // namespace

Result<std::unique_ptr<RedisServer>> RedisServer::Start(const std::string& folder) {
  Result<std::string> program = FindProgram("redis-server");
  if (!program) {
    return Fail(ErrorCode::kInvalidArgument,
                "redis-server is not on the PATH (Debian: redis-server)");
  }
  HF_ASSIGN_OR_RETURN(std::uint16_t port, FreePort());
  auto server = std::make_unique<OwnRedisServer>(*std::move(program), folder, port);
  HF_RETURN_IF_ERROR(server->AwaitReady());
  return server;
}

}  // namespace holdfast::cli
