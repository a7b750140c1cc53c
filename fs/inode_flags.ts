/** Flags of an inode as chattr(1) sets them: FS_*_FL of linux/fs.h. Those kept here are honoured. */

export const FS_SYNC_FL = 0x08;
export const FS_IMMUTABLE_FL = 0x10;
export const FS_APPEND_FL = 0x20;
export const FS_NODUMP_FL = 0x40;
export const FS_NOATIME_FL = 0x80;
export const FS_DAX_FL = 0x0200_0000;
export const FS_PROJINHERIT_FL = 0x2000_0000;
