//! `redis`, in registry:2's form and in registry:3's.

use super::super::{
    Key,
    Kind::*,
    Status::{self, Ignored},
};
use super::key;

const NO_REDIS: Status = Ignored("Larder doesn't connect to Redis and needs no cache there.");

#[rustfmt::skip]
pub(super) const KEYS: &[Key] = &[
    key("redis", Section, NO_REDIS, "", "The Redis that holds registry:2's cache."),
    key("redis.addr", Text, NO_REDIS, "", "Its address, in registry:2."),
    key("redis.addrs", Texts, NO_REDIS, "", "Its addresses, in registry:3."),
    key("redis.clientname", Text, NO_REDIS, "", "The name of connections."),
    key("redis.db", Integer, NO_REDIS, "", "The database's number."),
    key("redis.protocol", Integer, NO_REDIS, "", "The version of the protocol."),
    key("redis.username", Text, NO_REDIS, "", "The user."),
    key("redis.password", Secret, NO_REDIS, "", "The password."),
    key("redis.sentinelusername", Text, NO_REDIS, "", "The user of the sentinels."),
    key("redis.sentinelpassword", Secret, NO_REDIS, "", "The password of the sentinels."),
    key("redis.maxretries", Integer, NO_REDIS, "", "How often a command is repeated."),
    key("redis.minretrybackoff", Duration, NO_REDIS, "", "The shortest pause between repetitions."),
    key("redis.maxretrybackoff", Duration, NO_REDIS, "", "The longest one."),
    key("redis.dialtimeout", Duration, NO_REDIS, "", "How long connecting may take."),
    key("redis.readtimeout", Duration, NO_REDIS, "", "How long an answer may take."),
    key("redis.writetimeout", Duration, NO_REDIS, "", "How long sending may take."),
    key("redis.contexttimeoutenabled", Boolean, NO_REDIS, "", "Whether a request's deadline holds for commands."),
    key("redis.poolfifo", Boolean, NO_REDIS, "", "Whether the oldest idle connection is taken first."),
    key("redis.poolsize", Integer, NO_REDIS, "", "The number of connections."),
    key("redis.pooltimeout", Duration, NO_REDIS, "", "How long a command waits for one."),
    key("redis.minidleconns", Integer, NO_REDIS, "", "The fewest idle connections."),
    key("redis.maxidleconns", Integer, NO_REDIS, "", "The most idle connections."),
    key("redis.maxactiveconns", Integer, NO_REDIS, "", "The most connections."),
    key("redis.connmaxidletime", Duration, NO_REDIS, "", "How long a connection may be idle."),
    key("redis.connmaxlifetime", Duration, NO_REDIS, "", "How old a connection may be."),
    key("redis.maxredirects", Integer, NO_REDIS, "", "How many redirects of a cluster are followed."),
    key("redis.readonly", Boolean, NO_REDIS, "", "Whether replicas are read."),
    key("redis.routebylatency", Boolean, NO_REDIS, "", "Whether the nearest replica is read."),
    key("redis.routerandomly", Boolean, NO_REDIS, "", "Whether any replica is read."),
    key("redis.mastername", Text, NO_REDIS, "", "The master's name with the sentinels."),
    key("redis.disableidentity", Boolean, NO_REDIS, "", "Whether the client keeps its name to itself."),
    key("redis.identitysuffix", Text, NO_REDIS, "", "What is added to that name."),
    key("redis.unstableresp3", Boolean, NO_REDIS, "", "Whether unstable answers are taken."),
    key("redis.tls", Section, NO_REDIS, "", "Encryption."),
    key("redis.tls.enabled", Boolean, NO_REDIS, "", "Whether there is any."),
    key("redis.tls.certificate", Text, NO_REDIS, "", "The client's certificate."),
    key("redis.tls.key", Text, NO_REDIS, "", "Its key."),
    key("redis.tls.rootcas", Texts, NO_REDIS, "", "The authorities that are trusted."),
    key("redis.pool", Section, NO_REDIS, "", "Connections, in registry:2."),
    key("redis.pool.maxidle", Integer, NO_REDIS, "", "The most idle ones."),
    key("redis.pool.maxactive", Integer, NO_REDIS, "", "The most of all."),
    key("redis.pool.idletimeout", Duration, NO_REDIS, "", "How long one may be idle."),
];
