//! The numbers of `errcode`: OpenIM's, as its clients know them. 20xxx are those of its account service.

/// The server failed.
pub const INTERNAL: u32 = 500;
/// An argument is missing or has the wrong shape.
pub const ARGUMENT: u32 = 1001;
/// The user may not.
pub const NO_PERMISSION: u32 = 1002;
/// It is there already.
pub const DUPLICATE: u32 = 1003;
/// It is not there.
pub const NOT_FOUND: u32 = 1004;
/// There is no such user.
pub const USER_NOT_FOUND: u32 = 1101;
/// The account is there already.
pub const REGISTERED_ALREADY: u32 = 1102;
/// There is no such group.
pub const GROUP_NOT_FOUND: u32 = 1201;
/// The user is not in the group.
pub const NOT_IN_GROUP: u32 = 1203;
/// The group was dissolved.
pub const GROUP_DISMISSED: u32 = 1204;
/// The request to join was answered before.
pub const GROUP_REQUEST_HANDLED: u32 = 1206;
/// Nobody can be their own friend.
pub const CANNOT_ADD_SELF: u32 = 1301;
/// The other one has blocked the user.
pub const BLOCKED_BY_PEER: u32 = 1302;
/// The two are not friends, and must be.
pub const NOT_FRIENDS: u32 = 1303;
/// The two are friends already.
pub const FRIENDS_ALREADY: u32 = 1304;
/// The friend request was answered before.
pub const FRIEND_REQUEST_HANDLED: u32 = 1305;
/// The member is muted.
pub const MEMBER_MUTED: u32 = 1402;
/// The group is muted.
pub const GROUP_MUTED: u32 = 1403;
/// The message was withdrawn before.
pub const WITHDRAWN_ALREADY: u32 = 1404;
/// The token has expired.
pub const TOKEN_EXPIRED: u32 = 1501;
/// There is no such token.
pub const TOKEN_UNKNOWN: u32 = 1505;
/// Another login ended the session.
pub const TOKEN_KICKED: u32 = 1506;
/// There is no token in the request.
pub const TOKEN_MISSING: u32 = 1507;
/// Too many connections.
pub const TOO_MANY_CONNECTIONS: u32 = 1601;
/// The password is wrong.
pub const WRONG_PASSWORD: u32 = 20001;
/// There is no such account.
pub const ACCOUNT_NOT_FOUND: u32 = 20002;
/// The phone number is another account's.
pub const PHONE_TAKEN: u32 = 20003;
/// The account name is taken.
pub const ACCOUNT_TAKEN: u32 = 20004;
/// Requests come too fast.
pub const TOO_FREQUENT: u32 = 20005;
/// The verification code is wrong.
pub const CODE_MISMATCH: u32 = 20006;
/// The verification code is too old.
pub const CODE_EXPIRED: u32 = 20007;
/// The verification code was tried too often.
pub const CODE_TRIES: u32 = 20008;
/// The verification code was used.
pub const CODE_USED: u32 = 20009;
/// The invitation code was used up.
pub const INVITATION_USED: u32 = 20010;
/// There is no such invitation code.
pub const INVITATION_UNKNOWN: u32 = 20011;
/// The account may not be used.
pub const FORBIDDEN_ACCOUNT: u32 = 20012;
/// The user takes no friend requests.
pub const REFUSES_REQUESTS: u32 = 20013;
/// The e-mail address is another account's.
pub const EMAIL_TAKEN: u32 = 20014;
